"""A minute of fuzzing, and tests that the harness detects every kind of fault."""

import ctypes
import multiprocessing
import os
from pathlib import Path

import pytest
from tests.fuzz import fuzz, harness
from tests.fuzz.harness import Reader
from tests.fuzz.readers import READERS as REAL

from cdmllab import results
from cdmllab.errors import DataError

EACH = 25  # inputs of a reader, in addition to its seeds; fewer of a slow one


@pytest.fixture(scope="module", autouse=True)
def _server():
    multiprocessing.get_context("forkserver").set_forkserver_preload(fuzz.PRELOAD)


@pytest.mark.parametrize("name", REAL)
def test_damaged_files_are_read_or_refused_in_one_sentence(name):
    inputs = len(REAL[name].seeds()) + round(EACH * min(1.0, REAL[name].weight))
    tally = harness.run(name, "tests.fuzz.readers", range(inputs), seed=1)
    assert tally.faults == []
    assert tally.kinds.total() == inputs
    assert tally.kinds["read"] >= 1
    assert tally.kinds["refused"] >= 1 or name.startswith("journals")


def refuse(folder):
    raise DataError("no")


def forever(folder):
    while True:
        pass


READERS = {  # of this module, for children of the harness
    name: Reader(lambda: [{"x": b"abc"}], read, first=False)
    for name, read in {
        "read": lambda folder: (folder / "x").read_bytes(),
        "refused": refuse,
        "foreign": lambda folder: {}["x"],
        "long": lambda folder: refuse_with("x" * 5000),
        "memory": lambda folder: bytearray(3 << 30),
        "memory by another error": lambda folder: wrapped(),
        "hang": forever,
        "crash": lambda folder: ctypes.string_at(0),
        "acted": lambda folder: os.system("true"),
        "acted elsewhere": lambda folder: Path("/tmp/cdmllab-fuzz-elsewhere").write_text("x"),
    }.items()
}


def refuse_with(text):
    raise DataError(text)


def wrapped():
    try:
        bytearray(3 << 30)
    except MemoryError as error:
        raise DataError("too large") from error


@pytest.mark.parametrize("name", READERS)
def test_harness_detects_each_kind_of_fault(name):
    inputs = 1 if name == "hang" else 2
    tally = harness.run(name, __name__, range(inputs), seed=0, cpu_s=1.0, memory_mib=1024)
    assert tally.kinds == {name.split()[0]: inputs}


def test_input_can_be_reproduced(tmp_path):
    for number in range(20):
        for copy in ("a", "b"):
            harness.make("JSON", REAL["JSON"], 3, number, tmp_path / f"{number}/{copy}")
        one, other = (
            sorted((tmp_path / f"{number}/{copy}").rglob("*.json")) for copy in ("a", "b")
        )
        assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_stopped_fuzzing_resumes_with_the_next_reader(tmp_path, monkeypatch):
    """A stored tally is reused only for the same inputs."""
    kept, started = tmp_path / "kept.jsonl", []

    def run(name, table, numbers, seed):
        started.append(name)
        tally = harness.Tally()
        tally.add(harness.Verdict(3, "hang", "x", 11.0, 2.0))
        return tally

    monkeypatch.setattr(harness, "run", run)
    first = fuzz.fuzz({"JSON": 5, "YAML": 5}, 1, 1, kept)
    assert fuzz.fuzz({"JSON": 5, "YAML": 5}, 1, 1, kept) == first
    assert started == ["JSON", "YAML"]
    fuzz.fuzz({"JSON": 6, "YAML": 5}, 1, 1, kept)
    assert started == ["JSON", "YAML"] * 2


def test_report_covers_the_inputs_of_make_fuzz_without_a_fault():
    summary = results.load("faults/fuzz", fuzz.REPOSITORY / "results")
    # Each reader's share of 100,000 is rounded, so the sum is only nearly that.
    assert summary["inputs"] == sum(fuzz.shares(100_000).values())
    assert abs(summary["inputs"] - 100_000) < len(REAL)
    assert summary["faults"] == []
    assert summary["slowest_s"] <= harness.CPU_S
    assert summary["most_mib"] <= harness.MEMORY_MIB
    assert set(summary["readers"]) == set(REAL)
