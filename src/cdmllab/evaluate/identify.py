"""1:N identification with the images of a verification protocol."""

import numpy as np
from numpy.typing import NDArray

from cdmllab.evaluate.measures import Identification, NoIdentification, RankRate, TpirAtFpir
from cdmllab.metrics import identification

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)


def identify(
    embeddings: NDArray[np.floating], identity: NDArray[np.int64]
) -> Identification | NoIdentification:
    """Search for all images in a gallery of half of the people.

    Every second identity with two or more entries is enrolled with its first entry; its other
    entries are probes with a mate. All entries of identities that are not enrolled are probes
    without one.

    Parameters
    ----------
    embeddings : of images or templates, shape (n, d)
    identity : shape (n,)

    Returns
    -------
    Sizes, rank-k rates and TPIR at each FPIR that the probes can resolve; the reason alone where
    fewer than two identities have several images.
    """
    # First entry of each identity.
    _, first, counts = np.unique(identity, return_index=True, return_counts=True)
    several = np.flatnonzero(counts > 1)
    enrolled = several[::2]  # every second one; the others are strangers
    if len(enrolled) < 2:
        return NoIdentification(
            reason=f"a gallery needs two identities with several images, got {len(several)}"
        )
    gallery = first[enrolled]
    # Everything but the enrolled entries is a probe, of people enrolled or not.
    probes = np.setdiff1d(np.arange(len(identity)), gallery)
    search = identification.search(
        embeddings[gallery], identity[gallery], embeddings[probes], identity[probes]
    )
    rates = identification.cmc(search, min(max(RANKS), len(gallery)))
    without_mate = int((~search.mated).sum())
    return Identification(
        gallery=len(gallery),
        probes_with_mate=int(search.mated.sum()),
        probes_without=without_mate,
        rank=tuple(RankRate(k=k, value=float(rates[k - 1])) for k in RANKS if k <= len(rates)),
        tpir_at_fpir=tuple(
            TpirAtFpir(fpir=fpir, value=identification.tpir_at_fpir(search, fpir).tpir)
            for fpir in FPIRS
            if fpir * without_mate >= 1  # a lower FPIR allows no false answer at all
        ),
    )
