"""Helpers of the benchmarks: interleaved timing, peak memory in a fresh process, and records."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cdmllab._util.files import write_text
from cdmllab.runs import processor, provenance

_BEGAN = time.perf_counter()

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results/benchmarks"


Cases = Mapping[str, Callable[[], object]]


def interleaved(cases: Cases, rounds: int, warm_up: Cases | None = None) -> dict[str, float]:
    """Median seconds of each case.

    Each round runs every case once, so that other load on the machine affects all cases alike.
    Before the first round the cases in `warm_up`, by default all cases, run once without being
    timed.
    """
    for case in (warm_up or cases).values():
        case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(1, rounds + 1):
        for name, case in cases.items():
            _wait()
            start = time.perf_counter()
            case()
            _wait()
            seconds[name].append(time.perf_counter() - start)
        print(f"  round {round_} of {rounds}", file=sys.stderr)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_mib(script: str, *arguments: str) -> float:
    """Run `script` in a fresh process and return the number that it prints last, in MiB."""
    # Give every large tensor its own mapping, which is returned to the system when it is freed, so
    # that the measured memory is the memory in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, script, *arguments],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    return float(done.stdout.split()[-1])


class Peak:
    """Peak memory above that at the start, in MiB, of the process (Linux) or the CUDA device."""

    def __enter__(self) -> "Peak":
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated() / 2**20
        else:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
            self._before = _status_mib("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        now = (
            torch.cuda.max_memory_allocated() / 2**20
            if torch.cuda.is_available()
            else _status_mib("VmHWM")
        )
        self.mib = now - self._before


def write(name: str, values: Mapping[str, Any]) -> Path:
    """Save a run's values and provenance to ``results/benchmarks/<name>-<device>.json``."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = RESULTS / f"{name}-{device}.json"
    record = {
        "benchmark": name,
        "command": _command(name),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "wall_s": round(time.perf_counter() - _BEGAN, 1),
        **provenance(),
        **values,
    }
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def _command(name: str) -> str:
    """The command line, with files named without their folders."""
    return " ".join(["cdmllab bench", name, *(Path(argument).name for argument in sys.argv[1:])])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _status_mib(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {key}: peak memory is measured on Linux only")
