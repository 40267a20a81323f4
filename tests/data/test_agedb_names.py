"""AgeDB's protocol file is read in a process with limits, whose end is reported in a sentence."""

import json
import signal
import subprocess
import sys

import pytest

from cdmllab.data import agedb_names
from cdmllab.errors import DataError


def child(code):
    """Run `main` in a process of its own, after some code that changes its module, `names`."""
    program = f"from cdmllab.data import agedb_names as names\n{code}\nnames.main()"
    return subprocess.run([sys.executable, "-c", program], input=b"", capture_output=True)


def test_reader_that_crashes_is_reported_as_damage(monkeypatch):
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(agedb_names, "COMMAND", (sys.executable, "-c", crash))
    with pytest.raises(DataError, match=r"^a\.mat is .*: it is so damaged that reading it crashes"):
        agedb_names.read(b"", "a.mat")


def test_reader_that_does_not_end_is_stopped(monkeypatch):
    endless = (sys.executable, "-c", "import time; time.sleep(600)")
    monkeypatch.setattr(agedb_names, "COMMAND", endless)
    monkeypatch.setattr(agedb_names, "TIME_S", 0.5)
    with pytest.raises(DataError, match=r"^a\.mat is .*: reading it takes too long$"):
        agedb_names.read(b"", "a.mat")


def test_reader_has_limited_processor_time():
    done = child(
        "names.CPU_S = 1\ndef endless(content):\n    while True: pass\nnames._names = endless"
    )
    assert done.returncode == -signal.SIGXCPU, done.stderr


def test_reader_has_limited_memory():
    done = child(
        "names.MEMORY = 1 << 30\nnames._names = lambda content: [[(len(bytearray(2 << 30)), 1)]]"
    )
    assert json.loads(done.stdout).startswith("MemoryError")
