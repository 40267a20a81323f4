"""One thread a process: on a busy machine two torch threads wait for each other far longer than they compute."""

import os

import pytest
import torch
from hypothesis import settings

from cdmllab.data import roots

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder, the only one there is."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(roots.VARIABLE, str(folder))
    monkeypatch.setattr(roots, "_own", tuple)
    return folder
