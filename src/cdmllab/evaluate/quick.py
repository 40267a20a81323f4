"""Scores, accuracy and AUC of some pairs, without a protocol or intervals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.pairs import Pairs
from cdmllab.metrics import scoring, verification


class Verification(NamedTuple):
    """The result of `verify`."""

    scores: NDArray[np.float64]  # [p] cosine of each pair
    accuracy: verification.FoldAccuracy
    auc: float


def scores(embeddings: ArrayLike, pairs: Pairs) -> NDArray[np.float64]:
    """Cosine of each pair: from embeddings of shape (n, d) and any length to (p,).

    Raises
    ------
    ValueError : a pair names an image that has no embedding, or an embedding is zero or not finite
    """
    return scoring.cosines(embeddings, pairs.first, pairs.second)


def verify(embeddings: ArrayLike, pairs: Pairs) -> Verification:
    """Measure scores, accuracy over the folds, and area under the ROC.

    Examples
    --------
    Embeddings that separate three people perfectly:

    >>> import numpy as np
    >>> from cdmllab.data import pairs
    >>> who = np.repeat([0, 1, 2], 4)
    >>> result = verify(np.eye(3)[who], pairs.sample(who, per_fold=4, folds=2))
    >>> result.accuracy.mean, result.auc
    (1.0, 1.0)
    """
    s = scores(embeddings, pairs)
    folds = verification.fold_accuracy(s, pairs.same, pairs.fold)
    return Verification(s, folds, verification.auc(s, pairs.same))
