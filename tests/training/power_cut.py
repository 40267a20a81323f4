"""A training that ends as by a power cut."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cdmllab.training import entry


class _PowerCutError(Exception):
    """Not caught anywhere, so nothing is cleaned up."""


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """End a training in the block after a step; the run's record still has the status running."""
    original = entry.Run.log

    def log(run, **values):
        original(run, **values)
        if values["step"] == after:
            raise _PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(entry.Run, "log", log)
        patch.setattr(entry.Run, "finish", lambda *_, **__: None)
        with pytest.raises(_PowerCutError):
            yield
