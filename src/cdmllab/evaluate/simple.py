"""The short way: scores and accuracy of some pairs, for a chapter or a validation during training."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.pairs import Pairs
from cdmllab.evaluate.protocol import Protocol
from cdmllab.metrics import scoring, templates, verification


class Verification(NamedTuple):
    """What a protocol says about some embeddings."""

    scores: NDArray[np.float64]  # [p] cosine of each pair
    accuracy: verification.FoldAccuracy
    auc: float


def scores(embeddings: ArrayLike, pairs: Pairs) -> NDArray[np.float64]:
    """Cosine of each pair; embeddings of shape (n, d), any length, to (p,).

    Raises
    ------
    ValueError : a pair names a picture that has no embedding, or an embedding is zero or not finite
    """
    return scoring.cosines(embeddings, pairs.first, pairs.second)


def verify(embeddings: ArrayLike, pairs: Pairs) -> Verification:
    """Scores, accuracy over the protocol's folds, and area under the ROC."""
    s = scores(embeddings, pairs)
    folds = verification.fold_accuracy(s, pairs.same, pairs.fold)
    return Verification(s, folds, verification.auc(s, pairs.same))


def glance(embeddings: ArrayLike, protocol: Protocol) -> dict[str, float]:
    """``accuracy`` over the folds, where there is more than one, and ``auc`` of a protocol; pictures or templates.

    With one fold there is no other to choose the threshold on, and so no accuracy.
    """
    pairs = protocol.pairs
    if protocol.templates is not None:
        pooled = templates.pool(embeddings, *protocol.templates)
        pairs = pairs._replace(first=pooled.rows(pairs.first), second=pooled.rows(pairs.second))
        embeddings = pooled.embeddings
    if len(np.unique(pairs.fold)) > 1:
        judged = verify(embeddings, pairs)
        return {"accuracy": judged.accuracy.mean, "auc": judged.auc}
    return {"auc": verification.auc(scores(embeddings, pairs), pairs.same)}
