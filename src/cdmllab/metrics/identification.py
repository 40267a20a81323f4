"""1:N identification: find the person of a probe in a gallery, if it is there.

Closed set: every probe has a mate in the gallery, and rank k is the share of probes whose mate is
among the k best scores. Open set: some probes have none, and an answer counts only above a
threshold. Terms as in ISO/IEC 19795-1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.ranked import allowed
from cdmllab.metrics.scoring import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK_BYTES = 32 * 2**20


class Search(NamedTuple):
    """The result of a search for p probes."""

    mate_score: Floats  # [p] of the probe's own identity; -inf where the gallery has none
    other_score: Floats  # [p] the highest of all other identities
    rank: Ints  # [p] 1 + the number of others that score as high as the mate; 0 without a mate

    @property
    def mated(self) -> NDArray[np.bool_]:
        """Whether each probe has a mate in the gallery, shape (p,)."""
        return self.rank > 0


def search(
    gallery: ArrayLike, gallery_identity: ArrayLike, probes: ArrayLike, probe_identity: ArrayLike
) -> Search:
    """Compare every probe with every gallery entry by cosine, in blocks of probes.

    A tie counts against the mate. Otherwise a network that maps all images to one point would get
    a perfect rank-1 rate.

    Parameters
    ----------
    gallery : shape (g, d), one entry per identity
    gallery_identity : shape (g,), all different
    probes : shape (p, d)
    probe_identity : shape (p,)

    Raises
    ------
    ValueError : an identity that is in the gallery twice (pool its images first), fewer than two
        entries, no probes, shapes that differ, embeddings that are zero or not finite
    """
    g, q = unit(gallery, "gallery entry"), unit(probes, "probe")
    gid, pid = np.asarray(gallery_identity), np.asarray(probe_identity)
    if gid.shape != (len(g),) or pid.shape != (len(q),) or g.shape[1] != q.shape[1]:
        raise ValueError(
            "the shapes must be gallery (g, d), gallery_identity (g,), probes (p, d) and "
            "probe_identity (p,), "
            f"got {g.shape}, {gid.shape}, {q.shape} and {pid.shape}"
        )
    if len(g) < 2 or len(q) == 0:
        raise ValueError(
            f"a search needs at least two gallery entries and a probe, got {len(g)} and {len(q)}"
        )
    # Sort the gallery by identity: duplicates become neighbours, and mates are found by bisection.
    order = np.argsort(gid, kind="stable")
    rising = gid[order]
    twice = np.flatnonzero(rising[1:] == rising[:-1])
    if len(twice):
        one, other = order[twice[0]], order[twice[0] + 1]
        raise ValueError(
            f"the gallery contains identity {gid[one]} twice, as entries {one} and {other}"
        )
    # An identity above all others is placed after the end; it then differs and has no mate.
    at = np.minimum(np.searchsorted(rising, pid), len(g) - 1)
    mate = np.where(rising[at] == pid, order[at], -1)  # [p] gallery row, -1 without a mate

    mate_score, other_score, rank = (
        np.full(len(q), -np.inf),
        np.empty(len(q)),
        np.zeros(len(q), dtype=np.int64),
    )
    height = max(1, _BLOCK_BYTES // (8 * len(g)))  # probes in a block
    for start in range(0, len(q), height):
        part = slice(start, start + height)
        table = q[part] @ g.T  # [block, g]
        rows = np.flatnonzero(mate[part] >= 0)
        columns = mate[part][rows]
        own = table[rows, columns]
        # Hide the mates, so that the maximum and the rank look at all other identities only.
        table[rows, columns] = -np.inf
        mate_score[start + rows] = own
        other_score[part] = table.max(axis=1)
        rank[start + rows] = 1 + (table[rows] >= own[:, None]).sum(axis=1)
    return Search(mate_score, other_score, rank)


def cmc(result: Search, ranks: int = 20) -> Floats:
    """Cumulative match characteristic: rank-1 to rank-`ranks` rates, shape (ranks,).

    They are rates over the probes that have a mate.

    Raises
    ------
    ValueError : no probe has a mate, or fewer than one rank
    """
    rank = _mated_ranks(result)
    if ranks < 1:
        raise ValueError(f"ranks must be 1 or more, got {ranks}")
    # Ranks beyond the last requested one share a bin that is not counted; no rank is 0 here.
    counts = np.bincount(np.minimum(rank, ranks + 1), minlength=ranks + 2)
    shares: Floats = np.cumsum(counts[1 : ranks + 1]) / len(rank)
    return shares


def rank_rate(result: Search, k: int = 1) -> float:
    """Share of mated probes whose mate is among the k highest scores.

    Examples
    --------
    A gallery of three people and two probes; the second is closer to somebody else:

    >>> result = search([[1, 0], [0, 1], [-1, 0]], [0, 1, 2], [[1, 0.1], [1, 0.9]], [0, 1])
    >>> rank_rate(result, k=1), rank_rate(result, k=2)
    (0.5, 1.0)
    """
    return float(cmc(result, k)[-1])


class OpenSet(NamedTuple):
    """An operating point of open-set identification."""

    tpir: float  # share of mated probes whose mate ranks first and reaches the threshold
    fpir: float  # share of probes without a mate for which any entry reaches it
    threshold: float


def tpir_at_fpir(result: Search, fpir: float) -> OpenSet:
    """The largest TPIR whose FPIR does not exceed `fpir`.

    Raises
    ------
    ValueError : every probe has a mate, none has, or too few lack one to resolve this FPIR
    """
    rank = _mated_ranks(result)
    strangers = np.sort(result.other_score[~result.mated])
    n = len(strangers)
    if n == 0:
        raise ValueError(
            "every probe has a mate in the gallery, but an FPIR needs probes without one"
        )
    try:
        k = allowed(fpir, n)
    except ValueError:
        raise ValueError(
            f"an FPIR of {fpir:g} cannot be measured with {n:,} probes without a mate: "
            f"it must lie in [{1.0 / n:.3g}, 1]"
        ) from None
    # Just above the highest stranger that must be rejected; ties with it are rejected as well.
    threshold = -np.inf if k == n else float(np.nextafter(strangers[n - 1 - k], np.inf))
    # Only a mate that ranks first and reaches the threshold is an identification.
    right = (rank == 1) & (result.mate_score[result.mated] >= threshold)
    return OpenSet(float(right.mean()), float((strangers >= threshold).mean()), threshold)


def _mated_ranks(result: Search) -> Ints:
    rank = result.rank[result.mated]
    if len(rank) == 0:
        raise ValueError("no probe has a mate in the gallery")
    return rank
