"""Templates: several images of one person, pooled into one embedding, as in IJB's protocol."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PICTURES = 8192  # images pooled at a time, so that no sorted copy of all embeddings is needed


class PooledTemplates(NamedTuple):
    """Pooled embeddings of length 1, by rising template number."""

    number: Ints  # [t]
    embeddings: Floats  # [t, d]

    def rows(self, numbers: ArrayLike) -> Ints:
        """The row of each template number.

        Raises
        ------
        ValueError : a template that has no image
        """
        requested = np.asarray(numbers)
        # A number above all others is placed after the end; it then differs and is reported.
        at = np.minimum(np.searchsorted(self.number, requested), len(self.number) - 1)
        missing = np.flatnonzero(self.number[at] != requested)
        if len(missing):
            raise ValueError(f"template {requested[missing[0]]} has no image")
        return at


def pool(
    embeddings: ArrayLike,
    template: ArrayLike,
    media: ArrayLike,
    detector_score: ArrayLike | None = None,
    *,
    keep_length: bool = True,
) -> PooledTemplates:
    """Pool images to templates: weight, average per medium, sum over media, scale to length 1.

    A video has hundreds of frames and a photograph is one image. Averaging within a medium first
    makes each count once. This is the pipeline of the public IJB evaluations, whose embeddings are
    sums over an image and its mirror image.

    Parameters
    ----------
    embeddings : shape (n, d), one per image
    template : shape (n,), the number of the image's template
    media : shape (n,), the number of the medium within the template
    detector_score : shape (n,), the weight of each image, not negative; None weights all equally
    keep_length : let longer embeddings count more, as the public evaluations do; False scales each
        to length 1 first

    Raises
    ------
    ValueError : shapes that differ, no images, an image without a medium (a negative number),
        embeddings or weights that are not finite, or a template whose images sum to zero
    """
    e = np.asarray(embeddings)
    tid, mid = np.asarray(template), np.asarray(media)
    weight = (
        np.ones(len(e)) if detector_score is None else np.asarray(detector_score, dtype=np.float64)
    )
    if e.ndim != 2 or not tid.shape == mid.shape == weight.shape == (len(e),):
        raise ValueError(
            "embeddings must have shape (n, d), template, media and detector_score (n,), "
            f"got {e.shape}, {tid.shape}, {mid.shape} and {weight.shape}"
        )
    if len(e) == 0:
        raise ValueError("no images to pool")
    if (mid < 0).any():
        raise ValueError(
            f"image {int(np.flatnonzero(mid < 0)[0])} has no medium: its number is negative"
        )
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0.0)))
    if len(bad):
        raise ValueError(
            f"the detector score of image {bad[0]} is {weight[bad[0]]}: it must not be negative"
        )

    # Sort by template, then medium: each template, and each medium in it, is a run of rows.
    order = np.lexsort((mid, tid))
    t, m = tid[order], mid[order]
    new_template = np.append(True, t[1:] != t[:-1])
    new_medium = new_template | np.append(True, m[1:] != m[:-1])
    starts = np.flatnonzero(new_template)
    pooled = np.empty((len(starts), e.shape[1]))
    first = 0
    # Pool whole templates at a time, about `_PICTURES` images; a larger template is taken alone.
    while first < len(starts):
        last = max(
            first + 1, int(np.searchsorted(starts, starts[first] + _PICTURES, side="right")) - 1
        )
        begin, end = starts[first], starts[last] if last < len(starts) else len(e)
        rows = order[begin:end]
        x = _weighed(e, rows, weight, keep_length)
        # Average the images of each medium, then sum the media of each template.
        medium = np.flatnonzero(new_medium[begin:end])
        means = (
            np.add.reduceat(x, medium, axis=0) / np.diff(np.append(medium, end - begin))[:, None]
        )
        own = np.searchsorted(medium, starts[first:last] - begin)  # first medium of each template
        pooled[first:last] = np.add.reduceat(means, own, axis=0)
        first = last
    length = np.linalg.norm(pooled, axis=1)
    empty = np.flatnonzero(length == 0.0)
    if len(empty):
        raise ValueError(f"the images of template {t[starts[empty[0]]]} add up to zero")
    return PooledTemplates(t[starts].astype(np.int64), pooled / length[:, None])


def _weighed(e: NDArray[np.floating], rows: Ints, weight: Floats, keep_length: bool) -> Floats:
    x = e[rows].astype(np.float64)
    length = np.linalg.norm(x, axis=1)
    # A length of zero is harmless if lengths are kept: the image then adds nothing.
    bad = np.flatnonzero(~(np.isfinite(length) & (keep_length | (length > 0.0))))
    if len(bad):
        raise ValueError(f"the embedding of image {rows[bad[0]]} is zero or not finite")
    factor = weight[rows] if keep_length else weight[rows] / length
    scaled: Floats = x * factor[:, None]
    return scaled
