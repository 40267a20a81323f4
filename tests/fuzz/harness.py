"""Readers at foreign input, in child processes with limits, and the verdict on each input.

An input is a number: from it and the seed follow the files, so that any of them can be made again.
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
    """Something that reads foreign files.

    Attributes
    ----------
    seeds : what it can read, each time as the files of a folder; and crafted ones that it must
        refuse. The first is good
    read : is given the folder
    after : is given the folder before it is read, for what has to fit the other files
    weight : its share of the inputs, relative to others; the slower a reader, the smaller
    first : read the first seed once before, so that what is imported late is no input's memory
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    after: Callable[[Path, random.Random], object] | None = None
    weight: float = 1.0
    first: bool = True


class Verdict(NamedTuple):
    """What became of an input: "read" or "refused"; or "foreign" (an exception of another kind),
    "long" (no sentence), "acted" (something was run or written elsewhere), "memory", "hang" or
    "crash".
    """

    number: int
    kind: str
    said: str
    cpu_s: float
    mib: float


@dataclass
class Tally:
    """What became of all inputs of a reader."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    most_mib: float = 0.0
    faults: list[Verdict] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "kinds": dict(self.kinds)}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Tally":
        """From what `plain` made of it."""
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
    """Write the files of an input: the first ones are the seeds as they are, the others changed."""
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
    """Made once, and not changed afterwards."""
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
    cpu_s, memory_mib : what an input may cost; a fault beyond
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
        """Wait for it; judge the child itself where it does not come."""
        begun, used = time.monotonic(), self._used()
        while not self.pipe.poll(0.2):
            if not self._process.is_alive():
                return Verdict(number, "crash", f"exit code {self._process.exitcode}", 0.0, 0.0)
            spent = self._used() - used
            if spent > cpu_s or time.monotonic() - begun > WALL_S:
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
    """The child: inputs in, verdicts out."""
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
    """Whether more was asked for than there may be, however it was reported in the end."""
    while error is not None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error)[:1000]:
            return True
        error = error.__cause__ or error.__context__
    return False


def _resident() -> float:
    """The most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def _limit(mib: int) -> None:
    """Let this process have so much more memory than it has by now; where the system does not tell,
    any.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return
    (line,) = (line for line in status.splitlines() if line.startswith("VmData:"))
    limit = (int(line.split()[1]) + mib * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
