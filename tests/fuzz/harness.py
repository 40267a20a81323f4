"""Run readers on untrusted input in child processes with limits, and classify each outcome.

An input is a number: the files follow from it and the seed, so that any of them can be reproduced.
"""

import gc
import importlib
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from tests.fuzz.mutators import mutated
from tests.fuzz.watching import watch

from cdmllab.errors import LONGEST_OWN, CdmlLabError

GOOD = ("read", "refused")
CPU_S, WALL_S, MEMORY_MIB, LONGEST = 10.0, 300.0, 2048, LONGEST_OWN
BATCH = 50  # inputs a child is given at a time

Files = dict[str, bytes]
"""By name, below a folder."""


class Reader(NamedTuple):
    """A reader of untrusted files.

    Attributes
    ----------
    seeds : folders of files, by name: valid ones, of which the first is, and crafted invalid ones
    read : called with the folder
    after : called with the folder before `read`, to adapt files that depend on the mutated one
    weight : its share of the inputs, relative to others; smaller for slow readers
    first : read the first seed before all inputs, so that late imports are not counted as memory
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    after: Callable[[Path, random.Random], object] | None = None
    weight: float = 1.0
    first: bool = True


class Verdict(NamedTuple):
    """The outcome of an input, by `kind`.

    Accepted are "read" and "refused". Faults are "foreign" (an exception of another kind), "long"
    (not one sentence), "acted" (something was run or written elsewhere), "memory", "hang", "crash".
    """

    number: int
    kind: str
    message: str
    cpu_s: float
    mib: float


@dataclass
class Tally:
    """The outcomes of all inputs of a reader."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    most_mib: float = 0.0
    faults: list[Verdict] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "kinds": dict(self.kinds)}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Tally":
        """From the result of `plain`."""
        faults = [Verdict(*fault) for fault in plain["faults"]]
        return cls(Counter(plain["kinds"]), plain["slowest_s"], plain["most_mib"], faults)

    def add(self, verdict: Verdict) -> None:
        """Count an input."""
        self.kinds[verdict.kind] += 1
        self.slowest_s = max(self.slowest_s, verdict.cpu_s)
        self.most_mib = max(self.most_mib, verdict.mib)
        if verdict.kind not in GOOD:
            self.faults.append(verdict)


def make(name: str, reader: Reader, seed: int, number: int, folder: Path) -> None:
    """Write the files of an input: the first inputs are the seeds, the others mutated."""
    seeds = _seeds(reader.seeds)
    rng = random.Random(f"{seed}/{name}/{number}")
    # The first is good, and more is to be learnt from it than from damage to what is damaged.
    files = dict(
        seeds[number if number < len(seeds) else rng.choice((0, rng.randrange(len(seeds))))]
    )
    if number >= len(seeds):
        name_of = rng.choice(sorted(files))
        files[name_of] = mutated(name_of, files[name_of], rng)
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if reader.after is not None:
        reader.after(folder, rng)


@cache
def _seeds(made: Callable[[], list[Files]]) -> list[Files]:
    """The seeds, created once and never changed."""
    return made()


def run(
    name: str,
    table: str,
    numbers: Iterable[int],
    seed: int,
    *,
    cpu_s: float = CPU_S,
    memory_mib: int = MEMORY_MIB,
) -> Tally:
    """Give a reader inputs, in a child process that is replaced when one of them ends it.

    Parameters
    ----------
    name, table : of the reader, and the module whose ``READERS`` has it
    numbers, seed : of the inputs
    cpu_s, memory_mib : limits per input; more is a fault
    """
    waiting, tally = list(numbers), Tally()
    while waiting:
        child = _Child(table, name, seed, memory_mib)
        try:
            while waiting:
                batch = waiting[:BATCH]
                child.pipe.send(batch)
                for number in batch:
                    verdict = child.verdict(number, cpu_s)
                    tally.add(verdict)
                    waiting.remove(number)
                    if verdict.kind in ("hang", "crash"):
                        raise ChildProcessError
        except ChildProcessError:
            continue
        finally:
            child.end()
    return tally


class _Child:
    def __init__(self, table: str, name: str, seed: int, memory_mib: int) -> None:
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, table, name, seed, memory_mib), daemon=True
        )
        self._process.start()
        theirs.close()
        if not self.pipe.poll(WALL_S):
            raise TimeoutError(f"{name}: its first seed was not read in {WALL_S:.0f} s")
        self.pipe.recv()  # everything is imported

    def verdict(self, number: int, cpu_s: float) -> Verdict:
        """Wait for the verdict; if none comes, classify the child itself."""
        started, used = time.monotonic(), self._used()
        while not self.pipe.poll(0.2):
            if not self._process.is_alive():
                return Verdict(number, "crash", f"exit code {self._process.exitcode}", 0.0, 0.0)
            spent = self._used() - used
            if spent > cpu_s or time.monotonic() - started > WALL_S:
                return Verdict(number, "hang", f"no end after {spent:.0f} s of work", spent, 0.0)
        try:
            received: Verdict = self.pipe.recv()
        except EOFError:
            self._process.join()
            return Verdict(number, "crash", f"exit code {self._process.exitcode}", 0.0, 0.0)
        return received

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()

    def _used(self) -> float:
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)


def work(pipe: Any, table: str, name: str, seed: int, memory_mib: int) -> None:
    """The child process: reads inputs and sends verdicts."""
    reader = importlib.import_module(table).READERS[name]
    warnings.simplefilter("ignore")
    for stream in (1, 2):  # libraries below write there on their own
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    with tempfile.TemporaryDirectory() as work_folder:
        folder = Path(work_folder)
        acted = watch(folder)
        if reader.first:
            make(name, reader, seed, 0, folder / "first")
            _judge(reader, folder / "first", -1, acted)
        _limit(memory_mib)
        pipe.send("ready")
        while True:
            try:
                numbers = pipe.recv()
            except EOFError:
                return
            for number in numbers:
                place = folder / "input"
                place.mkdir()
                make(name, reader, seed, number, place)
                pipe.send(_judge(reader, place, number, acted))
                shutil.rmtree(place)


def _judge(reader: Reader, folder: Path, number: int, acted: list[str]) -> Verdict:
    acted.clear()
    before, began = _resident(), time.process_time()
    kind, message = "read", ""
    try:
        reader.read(folder)
    except CdmlLabError as error:
        kind, message = "refused", str(error)
        if len(message) > LONGEST or not message.strip():
            kind = "long"
        if _asked_for_memory(error):
            kind = "memory"
    except BaseException as error:
        kind = "memory" if _asked_for_memory(error) else "foreign"
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: "
            f"{str(error)[:200]}"
        )
    if acted:
        kind, message = "acted", acted[0]
    spent = time.process_time() - began
    gc.collect(0)
    return Verdict(number, kind, message[:400], spent, max(0.0, _resident() - before))


def _asked_for_memory(error: BaseException | None) -> bool:
    """Whether more memory was requested than allowed, however it was reported."""
    while error is not None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error)[:1000]:
            return True
        error = error.__cause__ or error.__context__
    return False


def _resident() -> float:
    """The peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def _limit(mib: int) -> None:
    """Allow this process this much more memory than it has now, where the system reports it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return
    (line,) = (line for line in status.splitlines() if line.startswith("VmData:"))
    limit = (int(line.split()[1]) + mib * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
