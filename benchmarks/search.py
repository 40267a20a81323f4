"""1:N search, the 10 nearest of a million gallery entries, against faiss's flat index.

    cdmllab bench search [--rounds N] [--quick]

Needs ``pip install faiss-cpu``. Gallery and probes are random float32 unit vectors in memory. Both
use all cores. The limit is the matrix product alone, in the same blocks. The two searches must name
the same entries, except where float32 cannot tell two cosines apart. Peak memory above gallery and
probes is measured in a fresh process for each; faiss's includes its own copy of the gallery.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import Peak, interleaved, peak_mib, write
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cdmllab.metrics.nearest import _PROBES as PROBES
from cdmllab.metrics.nearest import _ROWS as ROWS
from cdmllab.metrics.nearest import nearest

DIM, K = 512, 10
FULL, QUICK = (1_000_000, 10_000), (100_000, 2_000)
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def unit_vectors(count: int, seed: int) -> Floats:
    """Unit vectors, shape (count, 512), created in parts to need little more memory than theirs."""
    rng = np.random.default_rng(seed)
    out = np.empty((count, DIM), dtype=np.float32)
    for start in range(0, count, 10_000):
        part = rng.standard_normal((min(10_000, count - start), DIM), dtype=np.float32)
        out[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return out


def ours(gallery: Floats, probes: Floats) -> Ints:
    return nearest(gallery, probes, K).row


def faiss_flat(gallery: Floats, probes: Floats) -> Ints:
    import faiss

    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.IndexFlatIP(DIM)
    index.add(gallery)
    rows: Ints = index.search(probes, K)[1]
    return rows


def product(gallery: Floats, probes: Floats) -> None:
    for first in range(0, len(gallery), ROWS):
        for start in range(0, len(probes), PROBES):
            _ = gallery[first : first + ROWS] @ probes[start : start + PROBES].T


CASES: dict[str, Callable[[Floats, Floats], Any]] = {"faiss, flat index": faiss_flat, "ours": ours}


def memory(case: str, sizes: tuple[int, int]) -> float:
    gallery, probes = unit_vectors(sizes[0], 0), unit_vectors(sizes[1], 1)
    with Peak() as peak:
        CASES[case](gallery, probes)
    return peak.mib


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="100,000 entries, 2,000 probes")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "SIZE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    sizes = QUICK if chosen.quick else FULL
    cores = os.cpu_count() or 1
    with threadpool_limits(cores):
        if chosen.memory:
            case, size = chosen.memory
            print(memory(case, QUICK if size == "quick" else FULL))
            return
        try:
            import faiss
        except ImportError:
            raise SystemExit("this benchmark needs its peer: pip install faiss-cpu") from None
        gallery, probes = unit_vectors(sizes[0], 0), unit_vectors(sizes[1], 1)
        results: dict[str, Any] = {}

        def keep(case: str) -> None:
            results[case] = CASES[case](gallery, probes)

        cases: dict[str, Callable[[], object]] = {case: partial(keep, case) for case in CASES}
        cases["the product alone"] = partial(product, gallery, probes)
        few = {"few": partial(ours, gallery[:ROWS], probes[:PROBES])}
        seconds = interleaved(cases, chosen.rounds, few)
    differ = results["ours"] != results["faiss, flat index"]
    for probe, place in np.argwhere(differ):
        pair = gallery[[results[case][probe, place] for case in CASES]] @ probes[probe]
        if abs(float(pair[0] - pair[1])) > 1e-6:
            raise SystemExit(f"the results for probe {probe} differ at place {place}")
    size = "quick" if chosen.quick else "full"
    rows = [
        {
            "case": case,
            "seconds": round(seconds[case], 2),
            "ratio_to_peer": round(seconds[case] / seconds["faiss, flat index"], 2),
            "peak_mib": round(peak_mib(__file__, "--memory", case, size))
            if case in CASES
            else None,
        }
        for case in cases
    ]
    for row in rows:
        print(row, flush=True)
    if not chosen.quick:
        record = {
            "gallery": sizes[0],
            "probes": sizes[1],
            "k": K,
            "dim": DIM,
            "cores": cores,
            "faiss": faiss.__version__,
            "cases": rows,
        }
        print(f"\nwritten to {write('search', record)}", file=sys.stderr)


if __name__ == "__main__":
    main()
