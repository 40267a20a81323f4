"""Multiple comparisons: adjusted p-values that control the family-wise error rate."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values.

    Rejecting wherever the adjusted p-value is at most 0.05 keeps the chance of any false rejection
    in the family at 5 % or less, however the tests depend on each other (Holm, Scandinavian
    Journal of Statistics 6, 1979, pages 65 to 70, https://www.jstor.org/stable/4615733). A single
    test keeps its p-value.

    Parameters
    ----------
    p_values : shape (m,), each in [0, 1]

    Returns
    -------
    Array of shape (m,), in the same order: the k-th smallest is multiplied by m - k + 1, is never
    below that of a smaller p-value, and never above 1.

    Raises
    ------
    ValueError : no p-values, another shape, or a value outside [0, 1]; names its position

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or len(p) == 0:
        raise ValueError(f"p_values must have shape (m,) with m of 1 or more, got {p.shape}")
    wrong = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))
    if len(wrong):
        raise ValueError(f"p-values must lie in [0, 1], but number {wrong[0]} is {p[wrong[0]]}")
    # Multiply the smallest by m, the next by m - 1, and so on; the running maximum keeps the order.
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
