"""Draw the figures of an evaluation into files, for ``cdmllab evaluate --figures``."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cdmllab._util.files import replacing
from cdmllab.errors import optional
from cdmllab.evaluate.embedding import Images
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.evaluate.protocol import Protocol, Together
from cdmllab.metrics import error_rates, verification

with optional("plots", "a figure"):
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    from cdmllab import plots


def write(evaluation: Evaluation, protocol: Protocol, folder: Path) -> list[Path]:
    """Draw scores and ROC, the worst pairs and errors by nuisance; return the SVG files."""
    drawn = {"roc": _roc(evaluation)}
    # Templates have several images per side, so neither sheets nor nuisances apply.
    if protocol.templates is None:
        drawn["worst"] = _worst(evaluation, protocol)
        for name, values in protocol.nuisances.items():
            if values.max() > values.min():
                # "yaw (degrees)" becomes "by_yaw": no unit, and nothing but word characters.
                drawn["by_" + re.sub(r"\W", "_", name.split(" (")[0])] = _by_nuisance(
                    evaluation, protocol, name
                )
    paths = []
    for kind, figure in drawn.items():
        path = folder / f"{evaluation.name}__{kind}.svg"
        with replacing(path) as temporary:
            figure.savefig(
                temporary,
                format="svg",
                metadata={"Date": None},  # the same figure gives the same bytes
                facecolor="white",
                bbox_inches="tight",
            )
        plt.close(figure)
        paths.append(path)
    return paths


def _roc(evaluation: Evaluation) -> Figure:
    figure, axes = plots.figure(2, width=7.6, height=3.0)
    threshold = verification.best_threshold(evaluation.scores, evaluation.same)
    plots.score_histogram(axes[0], evaluation.scores, evaluation.same, threshold=threshold)
    plots.roc_curve(axes[1], evaluation.scores, evaluation.same, name=evaluation.name)
    return figure


def _worst(evaluation: Evaluation, protocol: Protocol, count: int = 16) -> Figure:
    figure, axes = plots.figure(2, width=9.0, height=4.6)
    worst = error_rates.worst(evaluation.scores, evaluation.same, count)
    for ax, rows, title in zip(
        axes, worst, ("genuine, least alike", "impostor, most alike"), strict=True
    ):
        # Rows of `worst` index the pairs; each side of the pairs indexes the images.
        one, other = (_for_sheet(protocol.images, side[rows]) for side in protocol.pairs[:2])
        plots.error_sheet(ax, one, other, evaluation.scores[rows], columns=4, title=title)
    return figure


def _by_nuisance(evaluation: Evaluation, protocol: Protocol, name: str) -> Figure:
    figure, axes = plots.figure(2, width=7.6, height=2.8)
    all_people = protocol.people()
    for ax, how in zip(axes, get_args(Together), strict=True):
        of_pair = protocol.nuisance_of_pairs(name, how)
        edges = np.histogram_bin_edges(of_pair, 6)
        for kind, rows in (("genuine", evaluation.same), ("impostor", ~evaluation.same)):
            people = None if all_people is None else (all_people[0][rows], all_people[1][rows])
            binned = error_rates.by_nuisance(
                evaluation.wrong[rows], of_pair[rows], edges, people=people
            )
            plots.error_rates(ax, binned, name=kind, nuisance=f"{name}: {_WORDS[how]}")
    axes[0].legend()
    return figure


_WORDS: dict[Together, str] = {"larger": "the larger of the two", "apart": "their difference"}


def _for_sheet(images: Tensor | Images, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Images in [-1, 1] for a sheet, shape (n, channels, height, width).

    Grey photographs get three channels, because the sheet draws a single channel as ink on white.
    """
    # Floats are drawn as they are; uint8 is scaled from 0 to 255 to the range [-1, 1].
    if isinstance(images, Tensor):
        x = images[rows].numpy().astype(np.float64)
        if images.is_floating_point():
            return x
    else:
        x = images.read(rows).transpose(0, 3, 1, 2).astype(np.float64)
    return np.repeat(x, 3, axis=1) / 127.5 - 1.0 if x.shape[1] == 1 else x / 127.5 - 1.0
