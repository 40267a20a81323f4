"""Read a hundred thousand damaged files and report the outcome of each: `make fuzz`.

    python -m tests.fuzz.fuzz [--inputs 100000] [--seed 0] [--workers N] [--only NAME] [--number N]

Every reader of `readers.py` gets its share in child processes with limits. The report goes to
``results/faults/fuzz.json``. A stopped run continues with the next reader when it is started again
with the same commit, inputs and seed. With ``--number`` one input of one reader is read in this
process, to debug it.
"""

import argparse
import json
import multiprocessing
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tests.fuzz import harness
from tests.fuzz.harness import CPU_S, MEMORY_MIB, Tally

from cdmllab._util.files import append_line, read_journal, write_text
from cdmllab.runs import provenance

REPOSITORY = Path(__file__).resolve().parents[2]
UNFINISHED = Path(__file__).parent / ".unfinished.jsonl"
PRELOAD = ["torch", "cdmllab.training", "cdmllab.sweeps", "cdmllab.evaluate"]


def shares(inputs: int) -> dict[str, int]:
    """The number of inputs of each reader."""
    from tests.fuzz.readers import READERS

    total = sum(reader.weight for reader in READERS.values())
    return {name: max(1, round(inputs * reader.weight / total)) for name, reader in READERS.items()}


def fuzz(
    counts: dict[str, int], seed: int, workers: int, kept: Path | None = None
) -> dict[str, Tally]:
    """Give each reader its number of inputs.

    Parameters
    ----------
    counts, seed : of the inputs
    workers : readers that work at the same time
    kept : a file with the tallies of finished readers; those of the same commit and inputs are
    reused
    """
    key = [provenance()["git_commit"], seed, counts]
    rows = list(read_journal(kept)) if kept is not None and kept.is_file() else []
    done = {row["reader"]: Tally.of(row["tally"]) for row in rows if row["of"] == key}
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)

    def one(name: str) -> Tally:
        if name in done:
            return done[name]
        tally = harness.run(name, "tests.fuzz.readers", range(counts[name]), seed)
        print(
            f"{name}: {dict(tally.kinds)}, slowest {tally.slowest_s:.1f} s, most "
            f"{tally.most_mib:.0f} MiB",
            flush=True,
        )
        if kept is not None:
            with lock:
                append_line(kept, json.dumps({"of": key, "reader": name, "tally": tally.plain()}))
        return tally

    lock = Lock()
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(counts, pool.map(one, counts), strict=True))


def report(tallies: dict[str, Tally]) -> dict[str, Any]:
    """The record: numbers of inputs, their cost, and every fault with what reproduces it."""
    faults = [
        {"reader": name, **_plain(fault)}
        for name, tally in tallies.items()
        for fault in tally.faults
    ]
    return {
        "inputs": sum(tally.kinds.total() for tally in tallies.values()),
        "limits": {"cpu_s": CPU_S, "memory_mib": MEMORY_MIB},
        "slowest_s": round(max(tally.slowest_s for tally in tallies.values()), 2),
        "most_mib": round(max(tally.most_mib for tally in tallies.values())),
        "readers": {
            name: {
                **dict(sorted(tally.kinds.items())),
                "slowest_s": round(tally.slowest_s, 2),
                "most_mib": round(tally.most_mib),
            }
            for name, tally in tallies.items()
        },
        "faults": faults,
    }


def _plain(fault: harness.Verdict) -> dict[str, Any]:
    return {"number": fault.number, "kind": fault.kind, "said": fault.message}


def show(name: str, seed: int, number: int) -> None:
    """Reproduce an input and read it; every error is raised."""
    from tests.fuzz.readers import READERS

    folder = Path(tempfile.mkdtemp(prefix="cdmllab-fuzz-"))
    harness.make(name, READERS[name], seed, number, folder)
    print(f"the input lies in {folder}")
    print(f"read: {READERS[name].read(folder)!r:.500}")


def main() -> None:
    """Fuzz every reader, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--only", default="", help="the name of a reader; nothing is recorded")
    parser.add_argument("--number", type=int, help="with --only: read this input, and no other")
    given = parser.parse_args()
    if given.number is not None:
        show(given.only, given.seed, given.number)
        return
    counts = shares(given.inputs)
    if given.only:
        counts = {given.only: counts[given.only]}
    kept = None if given.only or provenance()["git_dirty"] else UNFINISHED
    summary = report(fuzz(counts, given.seed, given.workers, kept))
    for fault in summary["faults"][:50]:
        print(json.dumps(fault))
    if not given.only:
        command = f"python -m tests.fuzz.fuzz --inputs {given.inputs} --seed {given.seed}"
        write_text(
            REPOSITORY / "results/faults/fuzz.json",
            json.dumps({"command": command, **provenance(), **summary}, indent=1) + "\n",
        )
        UNFINISHED.unlink(missing_ok=True)
    if summary["faults"]:
        raise SystemExit(f"{len(summary['faults'])} faults in {summary['inputs']:,} inputs")


if __name__ == "__main__":
    main()
