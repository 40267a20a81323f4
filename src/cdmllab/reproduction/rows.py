"""The rows that can be reproduced: preset, data, protocols, published numbers, and what is known to
differ.

They follow from the published tables (`cdmllab.results.published`); a row of those that has a
preset by two recipes is one row with two recipes here.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cdmllab import results
from cdmllab.data import registry
from cdmllab.errors import CdmlLabError, did_you_mean
from cdmllab.results import published

DEMO = "demo"
_DEMO_PAIRS = {
    "lab/lfw": 6000
}  # one protocol: rendering the faces of another takes as long as the training
_BINS = "face_bins"

_UNKNOWN = {
    "datn_page": (
        "the document names neither the margin's gradient nor how class centres start: both are "
        "arcface_torch's here",
        "the document does not say of what its +- is: it is read as the standard deviation over "
        "ten folds",
    ),
    "datn_code": (
        "the public code and the document differ in schedule, augmentation and margin: this is "
        "the code's recipe",
    ),
    "arcface": ("the ArcFace paper does not say how many trainings its numbers are the mean of",),
}
_COPIES = "which copies of the bins the published numbers were measured on is not reported"


class MeasuredCost(BaseModel):
    """Trainings that were timed: of the same network on as many images, see `hours`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: str  # in results/sweeps
    arm: str
    note: str


class ReproducibleRow(BaseModel):
    """One published training that can be repeated.

    Attributes
    ----------
    name : as the command takes it
    recipe : whose recipe the preset follows
    published : accuracy in percent by protocol
    spread : the +- that the source gives, in percent; None entries are left out
    pairs : of each protocol
    sets : what is fetched, by their names in the registry; evaluation files only as far as
        they are needed
    spread_is : what the source says the spread is of: ``"folds"``, or ``"seeds"`` in our own
        records
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recipe: str
    preset: str
    title: str
    source: str
    published: Mapping[str, float] = Field(min_length=1)
    spread: Mapping[str, float] = {}
    spread_is: str = "folds"
    seeds: int = 1  # whose mean the published number is, where that is known
    pairs: Mapping[str, int]
    sets: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measured: MeasuredCost | None = None

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that have a published number."""
        return tuple(self.published)


@cache
def table() -> tuple[ReproducibleRow, ...]:
    """Every row and recipe, the demonstration first; it has a row where the repository's results
    are there.
    """
    found = [_demo()] if _recorded() else []
    for row in published.ROWS:
        for recipe, preset in (("datn_page", row.preset), ("datn_code", row.datn_code_preset)):
            if preset is not None:
                found.append(_row(row, recipe, preset))
    return tuple(found)


def names() -> tuple[str, ...]:
    """Every row once, without its recipes."""
    return tuple(dict.fromkeys(row.name for row in table()))


def find(name: str, recipe: str | None = None) -> ReproducibleRow:
    """One row; without a recipe its first.

    Raises
    ------
    CdmlLabError : there is no such row, or not by that recipe; the nearest name is given
    """
    rows = [row for row in table() if name in (row.name, row.preset)]
    if not rows:
        hint = did_you_mean(name, [*names(), *(row.preset for row in table())])
        raise CdmlLabError(f"there is no row {name!r}{hint}; `cdmllab reproduce` lists them")
    if recipe is None:
        return rows[0]
    chosen = [row for row in rows if row.recipe == recipe]
    if not chosen:
        known = ", ".join(row.recipe for row in rows)
        raise CdmlLabError(
            f"{name} has no recipe {recipe!r}{did_you_mean(recipe, known.split(', '))}; it has: "
            f"{known}"
        )
    return chosen[0]


def hours(row: ReproducibleRow, images: int, epochs: int) -> float | None:
    """How long the recorded training would have taken with so many images and epochs; None without
    a record.
    """
    if row.measured is None or not _recorded():
        return None
    for group in _groups(row.measured.record):
        if group["arm"] == row.measured.arm:
            config, run = group["config"], group["runs"][0]
            data = config["data"]
            seen: float = config["epochs"] * data["num_identities"] * data["images_per_identity"]
            took: float = run["train_seconds"]
            return took / seen * images * epochs / 3600.0
    raise CdmlLabError(f"results/sweeps/{row.measured.record}.json has no arm {row.measured.arm}")


def _recorded() -> bool:
    """Whether there are results: a package that was installed without its repository has none."""
    try:
        return results.folder().is_dir()
    except CdmlLabError:
        return False


def _groups(record: str) -> Sequence[Mapping[str, Any]]:
    groups: Sequence[Mapping[str, Any]] = results.load(f"sweeps/{record}")["stages"][0]["groups"]
    return groups


def _row(row: published.Row, recipe: str, preset: str) -> ReproducibleRow:
    data, _, last = preset.split("/")
    deviations = [*_UNKNOWN["datn_code" if recipe == "datn_code" else "datn_page"][:1], _COPIES]
    if row.spread:
        deviations.append(_UNKNOWN["datn_page"][1])
    if row.source == "arcface":
        deviations.append(_UNKNOWN["arcface"][0])
    notes = []
    if any(t.preset == preset for t in published.TEMPLATES):
        notes.append(
            "its published numbers on IJB-B and IJB-C are not compared: NIST ended their "
            "distribution on "
            "14 March 2023; whoever has them can judge the network with `cdmllab evaluate`"
        )
    return ReproducibleRow(
        name=f"{data}/{last}",
        recipe=recipe,
        preset=preset,
        title=f"{row.trained_on}, {row.backbone}, {row.loss}",
        source=row.source,
        published=row.accuracy,
        spread=row.spread,
        pairs={name: _pairs(name) for name in row.accuracy},
        sets=(_training_set(row.trained_on), _BINS),
        deviations=tuple(deviations),
        notes=tuple(notes),
        measured=_measured(row),
    )


def _pairs(protocol: str) -> int:
    """How many pairs a protocol has."""
    file = f"verification/{protocol}.bin"
    data_set = registry.load().maker(file)
    assert data_set is not None, f"no data set makes {file}"
    return data_set.counts(file)["pairs"][0]


def _training_set(label: str) -> str:
    """The name of a training set by its label in the published tables."""
    return next(one.name for one in registry.load().sets.values() if one.label == label)


def _measured(row: published.Row) -> MeasuredCost | None:
    """The trainings at CASIA's size in results/, which are of two of the networks."""
    records = {"r18_lite": "lab_gpu_through", "r50_lite": "lab_gpu_r50"}
    if row.trained_on != "CASIA-WebFace" or row.backbone not in records:
        return None
    loss = "cdml" if row.loss.startswith("CDML") else "arcface"
    return MeasuredCost(
        record=records[row.backbone],
        arm=f"lab/gpu/{row.backbone}_{loss}",
        note="an H100 that two trainings shared, compiled, bfloat16, batches of 512",
    )


def _demo() -> ReproducibleRow:
    """A row of our own: what some seeds of a small preset reached when it was recorded."""
    values: dict[str, list[float]] = {}
    for group in _groups("lab_demo"):
        for run in group["runs"]:
            for protocol, measures in run["measures"].items():
                if protocol in _DEMO_PAIRS:
                    values.setdefault(protocol, []).append(100.0 * measures["accuracy"])
    seeds = min(map(len, values.values()))
    means = {name: sum(some) / len(some) for name, some in values.items()}
    spreads = {
        name: (sum((x - means[name]) ** 2 for x in some) / (len(some) - 1)) ** 0.5
        for name, some in values.items()
    }
    return ReproducibleRow(
        name=DEMO,
        recipe="lab",
        preset="lab/cpu/demo",
        title="a small world of the face lab, a small network, ArcFace",
        source=f"this project, {seeds} trainings recorded in results/sweeps/lab_demo",
        published=means,
        spread=spreads,
        spread_is="seeds",
        seeds=seeds,
        pairs=_DEMO_PAIRS,
        deviations=("the rendered faces are this machine's, and may differ by rounding",),
    )
