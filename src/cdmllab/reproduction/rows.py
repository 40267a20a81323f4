"""The rows that can be reproduced: preset, data, protocols, published numbers and deviations.

They are derived from the published tables (`cdmllab.results.published`). A published row with
presets of two recipes gives one row with two recipes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cdmllab import results
from cdmllab.data import registry
from cdmllab.errors import CdmlLabError, did_you_mean
from cdmllab.results import published, records

DEMO = "demo"
# One protocol only: rendering the faces of another would take as long as the training.
_DEMO_PAIRS = {"lab/lfw": 6000}
_BINS = "face_bins"

_UNKNOWN = {
    "datn_page": (
        "DATN's page names neither the margin's gradient nor the initial class centres: both are "
        "arcface_torch's here",
        "DATN's page does not say what its +- is: it is read as the standard deviation over ten "
        "folds",
    ),
    "datn_code": (
        "DATN's code and DATN's page differ in schedule, augmentation and margin: this is the "
        "code's recipe",
    ),
    "arcface": ("the ArcFace paper does not say over how many trainings its numbers are averaged",),
}
_COPIES = "which copies of the bins the published numbers were measured on is not reported"


class MeasuredCost(BaseModel):
    """Recorded trainings of the same network, for an estimate of time, see `hours`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: str  # in results/sweeps
    arm: str
    note: str


class ReproducibleRow(BaseModel):
    """A published training that can be reproduced.

    Attributes
    ----------
    name : as on the command line
    recipe : the source of the preset's recipe
    published : accuracy in percent by protocol
    spread : the +- that the source gives, in percent, by protocol
    pairs : number of pairs by protocol
    sets : data sets to fetch, by their names in the registry
    spread_is : over what the spread is: ``"folds"``, or ``"seeds"`` in our own records
    seeds : number of seeds in the published mean, if known
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
    seeds: int = 1
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
    """All rows and recipes. The demonstration comes first; it needs the repository's results."""
    rows = [_demo()] if _recorded() else []
    for row in published.ROWS:
        # A row with presets by both recipes appears twice.
        for recipe, preset in (("datn_page", row.preset), ("datn_code", row.datn_code_preset)):
            if preset is not None:
                rows.append(_row(row, recipe, preset))
    return tuple(rows)


def names() -> tuple[str, ...]:
    """The names of all rows, without recipes."""
    return tuple(dict.fromkeys(row.name for row in table()))


def find(name: str, recipe: str | None = None) -> ReproducibleRow:
    """Find a row by name or preset; without `recipe`, by its first recipe.

    Raises
    ------
    CdmlLabError : there is no such row or recipe; the message suggests the closest name
    """
    rows = [row for row in table() if name in (row.name, row.preset)]  # by name or by preset
    if not rows:
        hint = did_you_mean(name, [*names(), *(row.preset for row in table())])
        raise CdmlLabError(f"no row {name!r}{hint}; `cdmllab reproduce` lists them")
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
    """Hours of the recorded training, scaled to these images and epochs; None without a record."""
    if row.measured is None or not _recorded():
        return None
    for group in _groups(row.measured.record):
        # The recorded training, scaled by the number of images that it saw.
        if group["arm"] == row.measured.arm:
            config, run = group["config"], group["runs"][0]
            data = config["data"]
            trained: float = config["epochs"] * data["num_identities"] * data["images_per_identity"]
            took: float = run["train_seconds"]
            return took / trained * images * epochs / 3600.0
    raise CdmlLabError(f"results/sweeps/{row.measured.record}.json has no arm {row.measured.arm}")


def _recorded() -> bool:
    """Whether there are results: the package may be installed without its repository."""
    try:
        return results.folder().is_dir()
    except CdmlLabError:
        return False


def _groups(record: str) -> Sequence[Mapping[str, Any]]:
    groups: Sequence[Mapping[str, Any]] = records.load(record)["stages"][0]["groups"]
    return groups


def _row(row: published.Row, recipe: str, preset: str) -> ReproducibleRow:
    data, _, last = preset.split("/")  # casia/datn_page/r50_cdml
    # What the source leaves open, which our numbers may therefore differ by.
    deviations = [*_UNKNOWN["datn_code" if recipe == "datn_code" else "datn_page"][:1], _COPIES]
    if row.spread:
        deviations.append(_UNKNOWN["datn_page"][1])  # what its +- is
    if row.source == "arcface":
        deviations.append(_UNKNOWN["arcface"][0])
    notes = []
    if any(t.preset == preset for t in published.TEMPLATES):
        notes.append(
            "its published numbers on IJB-B and IJB-C are not compared: NIST ended their "
            "distribution on 14 March 2023; if you have them, use `cdmllab evaluate`"
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
    """The recorded trainings at CASIA's size, which exist for two networks."""
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
    """A row of our own: recorded accuracies of a small preset over several seeds."""
    # Accuracies of all seeds, in percent, by protocol.
    values: dict[str, list[float]] = {}
    for group in _groups("lab_demo"):
        for run in group["runs"]:
            for protocol, measures in run["measures"].items():
                if protocol in _DEMO_PAIRS:
                    values.setdefault(protocol, []).append(100.0 * measures["accuracy"])
    seeds = min(map(len, values.values()))  # equal in a complete record
    # Mean and sample standard deviation over seeds, as a paper would print them.
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
        deviations=("faces are rendered on this machine and may differ by rounding",),
    )
