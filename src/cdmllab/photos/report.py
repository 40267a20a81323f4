"""The findings on an album: thresholds, surprising pairs, suspects, groups."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.data.decode import decode
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate.evaluation import Evaluation
from cdmllab.metrics.calibration import Decision
from cdmllab.photos import clusters, comparison, thresholds
from cdmllab.photos.album import Album
from cdmllab.photos.comparison import FacePair, Suspect
from cdmllab.photos.thresholds import Pairs, Threshold


class Findings(NamedTuple):
    """Everything on the page; n faces in order of their group."""

    album: Album
    cosines: NDArray[np.float32]  # [n, n]
    group: NDArray[np.int64]  # [n] people, or groups by likeness
    names: tuple[str, ...]  # of the groups
    far: float
    here: Threshold | str  # from these photos, or the reason for none
    halves: list[Decision]  # each half of the people at the other's threshold
    elsewhere: Threshold | str  # from an evaluation of the network
    carried: Decision | None  # its rates on these photos
    pairs: Pairs | None  # of known people, both kinds
    strangers: list[FacePair]
    least_alike: list[FacePair]
    suspects: list[Suspect]
    twice: list[tuple[int, int]]  # faces of one image under two people
    copies: int  # pairs of faces of one image under one person
    cut: float | None  # the score at which groups by likeness were cut
    one_photo: list[tuple[int, int]]  # faces of one photo in one group by likeness


def findings(
    album: Album,
    far: float,
    *,
    evaluation: Evaluation | None = None,
    cut: float | None = None,
    seed: int = 0,
) -> Findings:
    """Compare every face of an album with every other.

    Parameters
    ----------
    far : the FAR of the thresholds
    evaluation : of the network, for a threshold from elsewhere
    cut : the score at which photos without people are grouped; by default the evaluation's
        threshold
    seed : of the bootstrap and of the halves

    Raises
    ------
    CdmlLabError : the people are unknown, and there is no score at which to group the photos
    """
    elsewhere = _elsewhere(evaluation, far)
    cosines = comparison.table(album.embeddings)
    known = bool(album.source.people)
    # Groups are people, or else clusters at a threshold.
    if known:
        cut, group, names = None, album.person, album.source.people
    else:
        if cut is None:
            if isinstance(elsewhere, str):
                raise CdmlLabError(
                    f"{album.source.root} has no folder per person, so photos are grouped by "
                    f"similarity, which needs a threshold: --calibration or --threshold "
                    f"({elsewhere})"
                )
            cut = elsewhere.cosine
        group = clusters.grouped(cosines, cut)
        names = tuple(f"group {k + 1}" for k in range(int(group.max()) + 1))
    # Sort everything by group: the table then has a square for each.
    order = np.argsort(group, kind="stable")
    album = album._replace(
        items=[album.items[row] for row in order], embeddings=album.embeddings[order]
    )
    cosines, group = cosines[np.ix_(order, order)], group[order]
    pairs = thresholds.pairs_of(cosines, group) if known and len(group) > 1 else None
    here, halves = _here(pairs, far, seed)
    both = pairs is not None and 0 < pairs.strangers < len(pairs.scores)  # both kinds of pairs
    doubles = comparison.duplicates(
        np.stack([decode(item.jpeg, item.photo) for item in album.items])
    )
    return Findings(
        album=album,
        cosines=cosines,
        group=group,
        names=names,
        far=far,
        here=here,
        halves=halves,
        elsewhere=elsewhere,
        carried=thresholds.measured_on(pairs, elsewhere)
        if both and pairs is not None and not isinstance(elsewhere, str)
        else None,
        pairs=pairs if both else None,
        strangers=comparison.strangers(cosines, group),
        least_alike=comparison.least_alike(cosines, group),
        suspects=comparison.suspects(cosines, group) if known else [],
        # Copies under two people are suspicious, copies under one are merely counted.
        twice=[(i, j) for i, j in doubles if group[i] != group[j]],
        copies=sum(bool(group[i] == group[j]) for i, j in doubles),
        cut=cut,
        one_photo=[] if known else _one_photo(album, group),
    )


def _elsewhere(evaluation: Evaluation | None, far: float) -> Threshold | str:
    if evaluation is None:
        return (
            "no evaluation was named or found next to the network: `cdmllab evaluate` records one"
        )
    try:
        return thresholds.of_evaluation(evaluation, far)
    except ValueError as error:
        return f"{evaluation.name}: {error}"


def _here(pairs: Pairs | None, far: float, seed: int) -> tuple[Threshold | str, list[Decision]]:
    if pairs is None:
        return "it takes photos of known people, two faces or more", []
    try:
        return (
            thresholds.of_photos(pairs, far, seed),
            thresholds.on_other_half(pairs, far, seed),
        )
    except ValueError as error:
        return str(error), []


def _one_photo(album: Album, group: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of faces of one photo in one group, though a person is in a photo once."""
    seen: dict[tuple[str, int], int] = {}
    pairs = []
    for row, item in enumerate(album.items):
        key = (item.photo, int(group[row]))
        if key in seen:
            pairs.append((seen[key], row))
        seen.setdefault(key, row)
    return pairs
