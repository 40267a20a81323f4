"""Defaults of every test: one thread, and random numbers seeded by its name.

On a busy machine two torch threads wait for each other far longer than they compute. A test that
draws from a global generator gets the same numbers whatever ran before it, in this process or in
another worker.
"""

import os
import random
import signal
import zlib

import numpy as np
import pytest
import torch
from hypothesis import settings

from cdmllab.data import paths

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)
# A shell's background jobs, and what they start, ignore Ctrl-C; those of nohup the end of the
# terminal too.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
settings.register_profile("same", deadline=None, derandomize=True)  # a busy machine is not a fault
settings.register_profile("other", deadline=None, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="try the tests on other random numbers")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("other" if config.getoption("seed") else "same")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> None:
    _seed(fixturedef.argname, request.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _seed(item.nodeid, item.config)


def _seed(name: str, config: pytest.Config) -> None:
    seed = zlib.crc32(f"{config.getoption('seed')} {name}".encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # libraries still draw from it
    torch.manual_seed(seed)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder, the only one there is."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(paths.VARIABLE, str(folder))
    monkeypatch.setattr(paths, "_default_folders", tuple)
    return folder
