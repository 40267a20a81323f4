"""The style of every figure: one palette, no chart junk, for light and dark pages alike.

Figures have a transparent background and three placeholder colours, INK, GRID and PAPER. The site's
extension replaces them in the SVG by the colours of the page's theme.
"""

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID, PAPER = "#1b2330", "#c9ced6", "#fefefe"

# One colour per loss in every chapter, with a contrast of at least 3:1 on white and near-black.
COLOURS = {
    "softmax": "#7d828a",
    "normface": "#4a97cf",
    "sphereface": "#b86bb0",
    "cosface": "#2a9d7f",
    "arcface": "#2f6fb7",
    "cdml": "#d9542b",
    "combined": "#c08a1e",
}

# Ten identities, distinguishable also with a colour vision deficiency (after Okabe and Ito, and
# Tol).
IDENTITY_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#8c7a00",
    "#7a4fb5",
    "#8a8f98",
    "#b03060",
)

GENUINE, IMPOSTOR = "#2a9d7f", "#b5485d"

RC: dict[str, Any] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "path",  # the same on machines without the font
    "svg.hashsalt": "cdmllab",  # the same ids in every run
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "figure.dpi": 100,
}


def colour(name: str) -> str:
    """The colour of a loss, or of genuine or impostor pairs; ink for any other name."""
    return {"genuine": GENUINE, "impostor": IMPOSTOR, **COLOURS}.get(name, INK)


def figure(
    columns: int = 1, *, rows: int = 1, width: float = 7.2, height: float = 2.8
) -> tuple[Figure, list[Axes]]:
    """Create a figure in the book's style with its axes, row by row; width and height in inches.

    The style stays active for the rest of the process, because a notebook renders its figures only
    after the cell has finished.
    """
    mpl.rcParams.update(RC)  # type: ignore[arg-type]
    if "inline" in mpl.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # No date: the same bytes in every run.
        set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches="tight")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False
    )
    return drawn, list(axes.flat)
