"""The short way: scores and accuracy of some pairs, for a chapter."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.pairs import Pairs
from cdmllab.metrics import scoring, verification


class Verification(NamedTuple):
    """What a protocol says about some embeddings."""

    scores: NDArray[np.float64]  # [p] cosine of each pair
    accuracy: verification.FoldAccuracy
    auc: float


def scores(embeddings: ArrayLike, pairs: Pairs) -> NDArray[np.float64]:
    """Cosine of each pair; embeddings of shape (n, d), any length, to (p,).

    Raises
    ------
    ValueError : a pair names an image that has no embedding, or an embedding is zero or not finite
    """
    return scoring.cosines(embeddings, pairs.first, pairs.second)


def verify(embeddings: ArrayLike, pairs: Pairs) -> Verification:
    """Scores, accuracy over the protocol's folds, and area under the ROC.

    Examples
    --------
    Embeddings that tell three people apart without a mistake:

    >>> import numpy as np
    >>> from cdmllab.data import pairs
    >>> who = np.repeat([0, 1, 2], 4)
    >>> found = verify(np.eye(3)[who], pairs.sample(who, per_fold=4, folds=2))
    >>> found.accuracy.mean, found.auc
    (1.0, 1.0)
    """
    s = scores(embeddings, pairs)
    folds = verification.fold_accuracy(s, pairs.same, pairs.fold)
    return Verification(s, folds, verification.auc(s, pairs.same))
