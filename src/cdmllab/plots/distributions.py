"""Distributions of values in a few groups, each as a separate density."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray


def densities(
    ax: Axes,
    values: ArrayLike,
    groups: Mapping[str, tuple[NDArray[np.bool_], str]],
    edges: ArrayLike,
    *,
    alpha: float = 0.3,
) -> None:
    """Draw histograms on common bins, each of area 1, with outlines and legend labels.

    Parameters
    ----------
    ax : axes to draw on
    values : shape (n,)
    groups : for each label a mask of the values, shape (n,), and a colour
    edges : bin edges, ascending, shape (bins + 1,)
    alpha : opacity of the area below an outline
    """
    import seaborn  # imported here because it brings pandas, which takes a second to load

    v = np.asarray(values, dtype=np.float64)
    for name, (rows, shade) in groups.items():
        seaborn.histplot(
            x=v[rows],
            bins=np.asarray(edges).tolist(),
            stat="density",
            element="step",
            color=shade,
            alpha=alpha,
            linewidth=1.4,
            label=name,
            ax=ax,
        )
    ax.set(xlabel="", ylabel="")
