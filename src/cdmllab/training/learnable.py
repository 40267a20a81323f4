"""Check before the first step that there is anything to learn."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.errors import CdmlLabError


def class_sizes(
    labels: ArrayLike, *, per_identity: int | None, num_identities: int = 0
) -> NDArray[np.int64]:
    """How many images of each identity an epoch shows.

    Parameters
    ----------
    labels : identity of each image, shape (n,)
    per_identity : at most so many images of an identity an epoch
    num_identities : the length of the answer, where some of the last identities have no images

    Returns
    -------
    Counts of shape (c,), c the larger of `num_identities` and the largest label + 1.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=num_identities)
    return counts if per_identity is None else np.minimum(counts, per_identity)


def check(
    labels: ArrayLike, *, batch_size: int, per_identity: int | None, pair_loss: str | None
) -> str:
    """Raise if the loss cannot learn from the data.

    Parameters
    ----------
    labels : identity of each image, shape (n,)
    batch_size : images in the batch that a loss is computed on
    per_identity : maximum of images per identity in an epoch
    pair_loss : the name of a loss over pairs of images; None for one with class centres

    Returns
    -------
    A warning in a sentence if most batches contain nothing to learn from; otherwise empty.

    Raises
    ------
    CdmlLabError : fewer than two identities; or a pair loss when no identity has two images
    """
    counts = class_sizes(labels, per_identity=per_identity)
    counts = counts[counts > 0]  # labels may have gaps
    if len(counts) < 2:
        raise CdmlLabError(
            "all images are of one identity, so the loss is 0 from the start: training needs at "
            "least two identities"
        )
    if pair_loss is None:
        return ""
    if counts.max() < 2:
        cap = "" if per_identity is None else f" with data.per_identity={per_identity}"
        raise CdmlLabError(
            f"{pair_loss} compares two images of one identity, but no identity has two{cap}: "
            "the loss would always be 0"
        )
    n, of_one = int(counts.sum()), float((counts * (counts - 1)).sum())
    # The pairs in a batch, times the chance that two images are of one identity.
    pairs = batch_size * (batch_size - 1) / 2 * of_one / (n * (n - 1))
    if pairs >= 1.0:
        return ""
    return (
        f"a batch of {batch_size} images has {pairs:.2g} pairs of one identity on average, and "
        f"{pair_loss} learns nothing without one: raise batch_size, or train on fewer identities"
    )
