"""Measure everything that a protocol defines, with intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.pairs import Pairs
from cdmllab.evaluate.evaluation import Evaluation, file_name
from cdmllab.evaluate.identify import identify
from cdmllab.evaluate.measures import (
    Accuracy,
    Estimate,
    GridAccuracy,
    Identification,
    IntervalSettings,
    Measures,
    NearestTar,
    NoIdentification,
    TarAtFar,
)
from cdmllab.evaluate.protocol import Protocol
from cdmllab.metrics import (
    bootstrap,
    fixed_grid,
    nearest_far,
    ranked,
    scoring,
    templates,
    verification,
)
from cdmllab.runs import provenance

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_WEIGHED_PAIRS = 2_000_000_000  # replicates x pairs; takes a few minutes

Intervals = Mapping[str, tuple[float, float]]  # by the names of `bootstrap.intervals`


def evaluate(
    embeddings: ArrayLike,
    protocol: Protocol,
    *,
    flip: bool = False,
    fars: Sequence[float] = FARS,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Evaluate embeddings of shape (n, d) on a protocol of n images.

    Measures accuracy over folds and the TAR at each FAR that the pairs can resolve, both by the
    exact rule and by arcface_torch's; AUC and EER; and 1:N identification with the same images.
    Intervals are bootstrapped over identities. If the identities are unknown or fewer than ten,
    they are bootstrapped over pairs, which makes them too narrow; the record notes it.

    Parameters
    ----------
    embeddings : of any length; images of a template are weighted by their length
    protocol : see `cdmllab.evaluate.protocols`
    flip : whether the mirrored images were added; only recorded
    fars : where to measure the TAR; below the resolution of the pairs the record gives a reason
        instead
    replicates : of the bootstrap; 0 for no intervals; millions of pairs get fewer
    confidence : of the intervals
    seed : of the bootstrap

    Raises
    ------
    ValueError : embeddings of the wrong shape, zero or not finite; a template without an image

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from cdmllab.data import pairs
    >>> who = np.repeat(np.arange(3), 4)
    >>> images = torch.zeros(12, 1, 8, 8)
    >>> protocol = Protocol("three people", images, pairs.every(who), identity=who)
    >>> done = evaluate(np.eye(3)[who], protocol, replicates=0)
    >>> len(done.scores), done.measures.auc.value
    (66, 1.0)
    """
    # Scores of all pairs, and the genuine and the impostor scores sorted separately.
    compared = _compared(embeddings, protocol)
    same, fold = protocol.pairs.same, protocol.pairs.fold
    scores = scoring.cosines(*compared[:3], noun=compared.noun)
    by_kind = ranked.rank(scores, same)
    impostors = len(by_kind.impostor)
    within = ranked.resolved(fars, impostors)  # FARs of at least one impostor pair
    folded = len(np.unique(fold)) > 1  # otherwise no accuracy

    # Intervals, with fewer replicates for millions of pairs, whose measures vary little anyway.
    intervals: Intervals = {}
    settings = None
    if replicates:
        # Over identities if possible; otherwise over pairs, with a note that says so.
        identities, note = _identities(protocol, compared)
        settings = IntervalSettings(
            replicates=min(replicates, max(2, _WEIGHED_PAIRS // len(scores))),
            confidence=confidence,
            seed=seed,
            over="pairs" if identities is None else "identities",
            note=note,
        )
        drawn = bootstrap.intervals(
            scores,
            same,
            fold if folded else None,
            identities=identities,
            fars=within,
            replicates=settings.replicates,
            confidence=confidence,
            seed=seed,
        )
        intervals = {name: (one.low, one.high) for name, one in drawn.items()}

    # Each measure by the exact rule; accuracy and TAR also by arcface_torch's rule.
    measures = Measures(
        protocol=protocol.name,
        flip=flip,
        images=len(protocol.images),
        genuine_pairs=len(by_kind.genuine),
        impostor_pairs=impostors,
        accuracy=_accuracy(scores, protocol.pairs, intervals) if folded else None,
        auc=Estimate(value=ranked.auc(by_kind), interval=intervals.get("auc")),
        eer=Estimate(value=ranked.eer(by_kind), interval=intervals.get("eer")),
        tar_at_far=tuple(
            _tar_at_far(far, by_kind, intervals)
            if far in within
            else TarAtFar(
                far=far, value=None, reason=f"{impostors:,} impostor pairs cannot resolve it"
            )
            for far in fars
        ),
        intervals=settings,
        identification=_identification(protocol, compared),
        **provenance(),
    )
    return Evaluation(file_name(protocol.name, flip), scores, same, fold, measures)


def quick_measures(embeddings: ArrayLike, protocol: Protocol) -> dict[str, float]:
    """Measure ``auc`` and, with two or more folds, ``accuracy``: fast, for use during training.

    With one fold there is no other fold to choose the threshold on. Errors as `evaluate`.
    """
    compared = _compared(embeddings, protocol)
    same, fold = protocol.pairs.same, protocol.pairs.fold
    scores = scoring.cosines(*compared[:3], noun=compared.noun)
    values = {"auc": verification.auc(scores, same)}
    if len(np.unique(fold)) > 1:
        values = {"accuracy": verification.fold_accuracy(scores, same, fold).mean, **values}
    return values


class _Compared(NamedTuple):
    embeddings: NDArray[np.floating]  # [m, d] of images or of templates
    first: NDArray[np.int64]  # [p] rows of them
    second: NDArray[np.int64]
    noun: str


def _compared(embeddings: ArrayLike, protocol: Protocol) -> _Compared:
    e, p = np.asarray(embeddings), protocol.pairs
    if e.ndim != 2 or len(e) != len(protocol.images):
        raise ValueError(f"embeddings must have shape ({len(protocol.images)}, d), got {e.shape}")
    if protocol.templates is None:
        return _Compared(e, p.first, p.second, "image")
    # Pairs name templates by number; translate them to rows of the pooled embeddings.
    pooled = templates.pool(e, *protocol.templates)
    return _Compared(pooled.embeddings, pooled.rows(p.first), pooled.rows(p.second), "template")


def _tar_at_far(far: float, by_kind: ranked.Ranked, intervals: Intervals) -> TarAtFar:
    """TAR and threshold at a FAR by the exact rule, and the TAR by arcface_torch's rule."""
    tar, nearest = ranked.tar_at_far(by_kind, far), nearest_far.tar_at_far(by_kind, far)
    return TarAtFar(
        far=far,
        value=tar,
        interval=intervals.get(f"tar@{far:g}"),
        threshold_cos=Estimate(
            value=ranked.lowest_accepted(by_kind, far),
            interval=intervals.get(f"threshold@{far:g}"),
        ),
        arcface_torch_rule=NearestTar(
            value=nearest.tar,
            interval=intervals.get(f"nearest_tar@{far:g}"),
            far=nearest.far,
            difference=nearest.tar - tar,
        ),
    )


def _accuracy(scores: NDArray[np.float64], pairs: Pairs, intervals: Intervals) -> Accuracy:
    """Accuracy over folds by the exact rule and by arcface_torch's."""
    exact = verification.fold_accuracy(scores, pairs.same, pairs.fold)
    grid = fixed_grid.fold_accuracy(
        scoring.convert(scores, "cosine", "squared_l2"), pairs.same, pairs.fold
    )
    return Accuracy(
        value=exact.mean,
        interval=intervals.get("accuracy"),
        std_over_folds=exact.std,
        per_fold=tuple(exact.per_fold.tolist()),
        thresholds_cos=tuple(exact.thresholds.tolist()),
        arcface_torch_rule=GridAccuracy(
            value=grid.mean,
            std_over_folds=grid.std,
            thresholds_squared_l2=tuple(grid.thresholds.tolist()),
            difference=grid.mean - exact.mean,
        ),
    )


def _identification(protocol: Protocol, compared: _Compared) -> Identification | NoIdentification:
    if protocol.identity is None:
        return NoIdentification(reason="the identities are unknown")
    return identify(compared.embeddings, _identity_of_entries(protocol, protocol.identity))


def _identity_of_entries(protocol: Protocol, identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """The identity of each image, or of each template if the protocol has templates."""
    if protocol.templates is None:
        return identity
    # The first image of each template, by rising template number, which is the order of `pool`.
    _, start = np.unique(protocol.templates.template, return_index=True)
    return identity[start]


def _identities(
    protocol: Protocol, compared: _Compared
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]] | None, str]:
    """The identities of each pair; or None, and the reason for intervals over pairs."""
    if protocol.identity is None:
        return None, "the identities are unknown, so the intervals are over pairs and too narrow"
    # The identities in each pair, of images or of templates alike.
    own = _identity_of_entries(protocol, protocol.identity)
    pair = own[compared.first], own[compared.second]
    people = len(np.unique(np.concatenate(pair)))
    if people < bootstrap.FEWEST_IDENTITIES:
        return (
            None,
            f"there are only {people} identities, so the intervals are over pairs and too narrow",
        )
    return pair, ""
