"""Embeddings and a protocol in, measures out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.pairs import Pairs
from cdmllab.metrics import verification


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
    e = np.asarray(embeddings, dtype=np.float64)
    if e.ndim != 2:
        raise ValueError(f"embeddings must have shape (n, d), got {e.shape}")
    last = int(max(pairs.first.max(), pairs.second.max()))
    if last >= len(e):
        raise ValueError(f"the pairs name picture {last}, and there are only {len(e)} embeddings")
    length = np.linalg.norm(e, axis=1)
    bad = np.flatnonzero(~(np.isfinite(length) & (length > 0.0)))
    if len(bad):
        raise ValueError(f"the embedding of picture {bad[0]} is zero or not finite ({len(bad)} such of {len(e)})")
    unit = e / length[:, None]
    cosines: NDArray[np.float64] = np.einsum("pd,pd->p", unit[pairs.first], unit[pairs.second])
    return cosines


def verify(embeddings: ArrayLike, pairs: Pairs) -> Verification:
    """Scores, accuracy over the protocol's folds, and area under the ROC."""
    s = scores(embeddings, pairs)
    folds = verification.fold_accuracy(s, pairs.same, pairs.fold)
    return Verification(s, folds, verification.auc(s, pairs.same))
