"""How values of a few groups are distributed, each as a density of its own."""

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
    """Histograms on common bins, each of area 1, with outlines that the legend knows.

    Parameters
    ----------
    ax : where to draw
    values : shape (n,)
    groups : by label, which values belong to it, shape (n,), and its colour
    edges : of the bins, rising, shape (bins + 1,)
    alpha : of the area below an outline
    """
    import seaborn  # brings pandas, which takes a second; who draws no distribution starts sooner

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
