"""Thresholds for a FAR: from the user's photos, or from an evaluation of the same network.

The two answer different questions. A threshold from the user's photos fits them, but few people
make it uncertain. One from a protocol is known precisely, for the photos of that protocol.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.errors import CdmlLabError
from cdmllab.evaluate.cached import digest
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.metrics import bootstrap, calibration, ranked
from cdmllab.photos.album import Network
from cdmllab.preprocessing import check

Ints = NDArray[np.int64]
_CELLS = 200_000_000  # replicates x pairs of the bootstrap: less than a minute
_FEWEST_REPLICATES, _REPLICATES = 100, 1000


class Threshold(NamedTuple):
    """A score from which a pair counts as one person."""

    cosine: float
    low: float | None  # of its 95 % interval; None where there is none
    high: float | None
    far: float  # the FAR
    source: str
    note: str = ""  # a limitation of the interval


class Pairs(NamedTuple):
    """All p pairs of an album whose people are known."""

    scores: NDArray[np.float64]  # [p] cosine
    same: NDArray[np.bool_]  # [p]
    people: tuple[Ints, Ints]  # who is compared, each [p]

    @property
    def strangers(self) -> int:
        """The number of pairs of different people."""
        return int((~self.same).sum())


def pairs_of(cosines: NDArray[np.float32], person: Ints) -> Pairs:
    """The n (n - 1) / 2 pairs of n faces."""
    i, j = np.triu_indices(len(person), k=1)
    first, second = person[i], person[j]
    return Pairs(cosines[i, j].astype(np.float64), first == second, (first, second))


def of_photos(pairs: Pairs, far: float, seed: int = 0) -> Threshold:
    """The threshold at which a share of at most `far` of the pairs of strangers is accepted.

    The interval comes from drawing people (`cdmllab.metrics.bootstrap`); with fewer than ten there
    is none.

    Raises
    ------
    ValueError : the pairs cannot resolve this FAR, or are of one kind
    """
    value = ranked.lowest_accepted(ranked.rank(pairs.scores, pairs.same), far)
    people = len(np.unique(np.concatenate(pairs.people)))
    if people < bootstrap.FEWEST_IDENTITIES:
        note = f"no interval: {people} people are too few, {bootstrap.FEWEST_IDENTITIES} are needed"
        return Threshold(value, None, None, far, "these photos", note)
    interval = bootstrap.intervals(
        pairs.scores,
        pairs.same,
        identities=pairs.people,
        fars=[far],
        replicates=int(np.clip(_CELLS // len(pairs.scores), _FEWEST_REPLICATES, _REPLICATES)),
        seed=seed,
    )[f"threshold@{far:g}"]
    return Threshold(value, interval.low, interval.high, far, "these photos")


def on_other_half(pairs: Pairs, far: float, seed: int = 0) -> list[calibration.Decision]:
    """Thresholds from one half of the people, measured on the other half, both ways.

    On the people it was chosen on, a threshold looks better than it is. Empty if a half is too
    small for this FAR.
    """
    people = np.unique(np.concatenate(pairs.people))
    first_half = np.random.default_rng(seed).permutation(people)[: len(people) // 2]
    a, b = (np.isin(side, first_half) for side in pairs.people)
    decisions = []
    # Both ways; pairs between the halves are left out, since they share people with both.
    for chosen_on, tried_on in ((a & b, ~a & ~b), (~a & ~b, a & b)):
        try:
            threshold = calibration.threshold_at_far(
                pairs.scores[chosen_on], pairs.same[chosen_on], far
            )
            who = pairs.people[0][tried_on], pairs.people[1][tried_on]
            decisions.append(
                calibration.decide(
                    pairs.scores[tried_on], pairs.same[tried_on], threshold, people=who
                )
            )
        except ValueError:  # a half without one kind of pairs, or with too few
            return []
    return decisions


def evaluations(folder: Path) -> list[Path]:
    """The records of evaluations in a folder, by name."""
    return sorted(path for path in folder.glob("*.json") if path.with_suffix(".npz").is_file())


def evaluation_of(path: Path, network: Network) -> Evaluation:
    """Read an evaluation, and check that it is of this network.

    Raises
    ------
    DataError : it cannot be read
    CdmlLabError : it is of another network, or of this one with other images or flipping
    """
    evaluation = Evaluation.read(path)
    made = evaluation.measures.made_with
    # Weights, preprocessing and flipping all change scores, so all must agree.
    if made is None or made.weights_sha256 != digest(network.backbone):
        raise CdmlLabError(f"{path} is an evaluation of another network than {network.name}")
    if made.preprocessing != check(network.prepare):
        raise CdmlLabError(
            f"{path} is an evaluation of {network.name} with other preprocessing than its own"
        )
    flip = evaluation.measures.flip
    if flip != network.flip:
        raise CdmlLabError(
            f"{path} was measured {'with' if flip else 'without'} the mirrored images: "
            f"{'add' if flip else 'leave out'} --flip, or name another evaluation"
        )
    return evaluation


def of_evaluation(evaluation: Evaluation, far: float) -> Threshold:
    """The threshold of an evaluation at a FAR, with the interval that it recorded.

    Raises
    ------
    ValueError : its pairs cannot resolve this FAR
    """
    value = ranked.lowest_accepted(ranked.rank(evaluation.scores, evaluation.same), far)
    measures = evaluation.measures
    # The evaluation records a threshold with its interval at some FARs only.
    recorded = [at.threshold_cos for at in measures.tar_at_far if at.far == far]
    interval = recorded[0].interval if recorded and recorded[0] is not None else None
    if interval is None:
        note = "the evaluation recorded no interval"
        return Threshold(value, None, None, far, measures.protocol, note)
    note = "" if measures.intervals is None else measures.intervals.note
    return Threshold(value, *interval, far, measures.protocol, note)


def measured_on(pairs: Pairs, threshold: Threshold) -> calibration.Decision:
    """FAR and TAR of a threshold from elsewhere on these pairs, with intervals over people."""
    return calibration.decide(pairs.scores, pairs.same, threshold.cosine, people=pairs.people)


class TailShares(NamedTuple):
    """Shares of an evaluation's pairs beyond a score, with intervals."""

    strangers_above: calibration.Rate  # share of pairs of strangers with at least this score
    genuine_below: calibration.Rate  # share of pairs of one person with at most this score


def tail_shares(evaluation: Evaluation, cosine: float) -> TailShares:
    """Shares of an evaluation's pairs beyond a score.

    The intervals treat pairs as independent, and so are the narrowest possible.
    """
    genuine, impostor = evaluation.scores[evaluation.same], evaluation.scores[~evaluation.same]
    return TailShares(
        calibration.wilson(int((impostor >= cosine).sum()), len(impostor)),
        calibration.wilson(int((genuine <= cosine).sum()), len(genuine)),
    )
