"""An atlas of margins: what moves the margin of each registered loss, and for whom it is larger."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from cdmllab import margins
from cdmllab.analysis import margin_axes
from cdmllab.analysis.margin_axes import Curve, Floats, Place, Samples
from cdmllab.margins import MovedBy

Larger = Literal["easy", "hard", "neither"]

# A training of 200 batches is enough for statistics that start at their first batch.
PROBE = Place(batches=200)
# The places of a probe, each from the easy end to the hard one: near the centre to far from it, a
# distant negative to a near one, long embeddings to short ones, common identities to rare ones.
ANGLES = np.radians(np.linspace(20.0, 80.0, 13))
NEGATIVES = np.radians(np.linspace(100.0, 40.0, 13))
NORMS = np.linspace(75.0, 25.0, 11)
CLASS_SIZES = np.array([512, 256, 128, 64, 32, 16, 8, 4])
PROGRESS = np.linspace(0.0, 1.0, 5)
_TWO_ANGLES = (float(np.radians(30.0)), float(np.radians(60.0)))
_LONG = replace(PROBE, batches=2_000)
_AWAY = np.pi  # a negative that no rule calls hard
_EXACT = 1e-9  # rounding stays below it
_SETTLED = 1e-3  # what running statistics still move after half of the training


class Entry(NamedTuple):
    """A row of the atlas."""

    name: str
    label: str
    year: int
    moved_by: tuple[MovedBy, ...]  # measured, the first is the family
    larger_for: Larger  # measured
    # Mean margin of the easy and of the hard half of the probed places, in degrees if the angle
    # moves it, otherwise in units of the cosine; both are NaN for a margin that nothing moves.
    easy: float
    hard: float

    @property
    def family(self) -> MovedBy:
        """The first mover."""
        return self.moved_by[0]


def atlas() -> tuple[Entry, ...]:
    """Every registered loss, by family, direction and year."""
    families, directions = get_args(MovedBy), get_args(Larger)
    return tuple(
        sorted(
            map(entry, margins.names()),
            key=lambda e: (families.index(e.family), directions.index(e.larger_for), e.year),
        )
    )


def entry(name: str) -> Entry:
    """Probe a registered loss at its defaults: vary one thing at a time and watch its margin."""
    moved_by = movers(name)
    probes = next(filter(None, (_from_easy_to_hard(name, mover) for mover in moved_by)), ())
    easy = hard = float("nan")
    larger: Larger = "neither"
    if probes:
        half = len(probes[0]) // 2
        easy = float(np.mean([probe[:half].mean() for probe in probes]))
        hard = float(np.mean([probe[-half:].mean() for probe in probes]))
        gains = [float(probe[:half].mean() - probe[-half:].mean()) for probe in probes]
        if min(gains) > _EXACT:
            larger = "easy"
        elif max(gains) < -_EXACT:
            larger = "hard"
    return Entry(name, margins.label(name), margins.year(name), moved_by, larger, easy, hard)


def movers(name: str, **options: object) -> tuple[MovedBy, ...]:
    """What moves the margin of a loss, measured; ("nothing",) if nothing does.

    - ``"angle"``: with the negatives out of the way, the target is not cos(theta + a) - b for any
      constants a and b, nor is the added angle constant.
    - ``"gap"``: a nearer negative changes the margin, and not equally at two target angles. A loss
      that only rescales all its negatives changes it equally.
    - ``"class"``, ``"norm"``: the margin differs between class sizes, or lengths.
    - ``"chance"``: it differs between equal samples. Draws that change with the batch are not
      counted as time.
    - ``"time"``: it changes during the training. If class or norm move it, running statistics
      settle first, and only the second half of the training counts.

    Parameters
    ----------
    name : a registered loss; one without cosines has no margin
    options : of the loss
    """
    if name not in margin_axes.names():
        return ("nothing",)
    same = _margin(name, "norm", np.full(len(NORMS), PROBE.norm), **options)
    chance = _varies(same)
    found: dict[MovedBy, bool] = {
        "class": _class_moves(name, chance, options),
        "angle": not chance and _angle_moves(name, options),
        "gap": _gap_moves(name, options),
        # A sample's draw depends on its place in the batch, not on its length.
        "norm": float(np.abs(_margin(name, "norm", NORMS, **options) - same).max()) > _EXACT,
    }
    found["time"] = not chance and _time_moves(name, found["class"] or found["norm"], options)
    found["chance"] = chance
    moved: tuple[MovedBy, ...] = tuple(mover for mover in get_args(MovedBy) if found.get(mover))
    return moved or ("nothing",)


def samples(count: int, *, seed: int, angle_deg: float | None = None) -> Samples:
    """Random samples like those of a training that is well under way.

    Angles to the target centre spread around 50 degrees, those to the nearest negative around 72,
    lengths around 50, and class sizes over three orders of magnitude; all are independent.

    Parameters
    ----------
    count : n
    seed : of the random numbers
    angle_deg : one angle to the target centre for all of them; None draws them
    """
    rng = np.random.default_rng(seed)
    identities = 64
    angles = rng.normal(50.0, 13.0, count).clip(5.0, 110.0)
    if angle_deg is not None:
        angles = np.full(count, angle_deg)
    return Samples(
        angle_rad=np.radians(angles),
        negative_rad=np.radians(rng.normal(72.0, 8.0, count).clip(35.0, 100.0)),
        norm=rng.normal(50.0, 12.0, count).clip(20.0, 90.0),
        labels=rng.integers(identities, size=count),
        class_sizes=np.round(2.0 ** rng.uniform(2.0, 9.0, identities)).astype(np.int64),
    )


class Likeness(NamedTuple):
    """Rank correlations between the margins of k losses over the same samples."""

    names: tuple[str, ...]  # [k]
    correlation: Floats  # [k, k], Spearman's
    constant: tuple[str, ...]  # losses whose margin is the same for all samples


def likeness(over: Samples, names: Sequence[str], place: Place = PROBE) -> Likeness:
    """How alike losses rank the same samples by their margin over the nearest negative.

    Parameters
    ----------
    over : the samples
    names : the losses, in the order of the result; those without cosines are left out
    place : the training that precedes; 50 degrees is where its samples are
    """
    place = replace(place, angle_rad=np.radians(50.0), negative_rad=np.radians(72.0))
    order = [name for name in names if name in margin_axes.names()]
    margin = {name: margin_axes.over_samples(name, over, place).margin_cos for name in order}
    kept = tuple(name for name in order if _varies(margin[name]))
    ranks = np.stack([_ranks(margin[name]) for name in kept])
    correlation: Floats = np.atleast_2d(np.corrcoef(ranks))
    return Likeness(kept, correlation, tuple(n for n in order if n not in kept))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, shape (n,); values that are equal up to rounding share their mean rank."""
    _, inverse, counts = np.unique(values.round(9), return_inverse=True, return_counts=True)
    last: NDArray[np.int64] = np.cumsum(counts) - 1
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _curve(name: str, axis: margin_axes.Axis, at: Floats, **options: object) -> Curve:
    place = options.pop("place", PROBE)
    assert isinstance(place, Place)
    return margin_axes.curve(name, axis, at, place, **options)


def _margin(name: str, axis: margin_axes.Axis, at: Floats, **options: object) -> Floats:
    return _curve(name, axis, at, **options).margin_cos


def _varies(values: Floats) -> bool:
    return float(np.ptp(values)) > _EXACT


def _angle_moves(name: str, options: dict[str, object]) -> bool:
    seen = _curve(name, "angle", ANGLES, place=replace(PROBE, negative_rad=_AWAY), **options)
    if not _varies(seen.margin_rad):
        return False
    # cos(theta + a) - b is p cos(theta) + q sin(theta) + r with p^2 + q^2 = 1.
    basis = np.stack([np.cos(ANGLES), np.sin(ANGLES), np.ones_like(ANGLES)], axis=1)
    fitted = np.linalg.lstsq(basis, seen.target, rcond=None)[0]
    residual = float(np.abs(basis @ fitted - seen.target).max())
    return residual > 1e-6 or abs(float(np.hypot(*fitted[:2])) - 1.0) > 1e-6


def _gap_moves(name: str, options: dict[str, object]) -> bool:
    away = np.full(len(NEGATIVES), _AWAY)
    near, far = (
        # A random draw is the same for both.
        _margin(name, "negative", NEGATIVES, place=place, **options)
        - _margin(name, "negative", away, place=place, **options)
        for place in (replace(PROBE, angle_rad=a) for a in _TWO_ANGLES)
    )
    return _varies(near - far)


def _class_moves(name: str, chance: bool, options: dict[str, object]) -> bool:
    seen = _margin(name, "class_size", CLASS_SIZES.astype(np.float64), **options)
    if not chance:
        return _varies(seen)
    equal = np.full(len(CLASS_SIZES), 64.0)
    return _varies(seen - _margin(name, "class_size", equal, **options))


def _time_moves(name: str, settles: bool, options: dict[str, object]) -> bool:
    """Whether the margin of a sample with a hard negative changes during the training."""
    hard = replace(PROBE, negative_rad=float(np.radians(50.0)))
    if not settles:
        return _varies(_margin(name, "progress", PROGRESS, place=hard, **options))
    long = replace(hard, batches=_LONG.batches)
    late = _margin(name, "progress", np.array([0.5, 0.75, 1.0]), place=long, **options)
    return float(np.ptp(late)) > _SETTLED


def _from_easy_to_hard(name: str, mover: MovedBy) -> tuple[Floats, ...]:
    """The margin at places from easy to hard, in one row or several that should agree; empty if the
    mover has no such order.
    """
    if mover == "angle":
        away = replace(_LONG, negative_rad=_AWAY)
        return (np.degrees(_curve(name, "angle", ANGLES, place=away).margin_rad),)
    if mover == "gap":
        return tuple(
            _margin(name, "negative", NEGATIVES, place=replace(_LONG, angle_rad=a))
            for a in _TWO_ANGLES
        )
    if mover == "norm":
        return (_margin(name, "norm", NORMS, place=_LONG),)
    if mover == "class":
        return (_margin(name, "class_size", CLASS_SIZES.astype(np.float64), place=_LONG),)
    return ()
