from collections.abc import Iterator

import pytest
from tests.data.fetching.mirror_server import Mirror, serving
from tests.reproduction import miniature

from cdmllab import runs


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A mirror on the loopback interface."""
    with serving() as server:
        yield server


@pytest.fixture
def mini(tmp_path, data, mirror, monkeypatch) -> miniature.Made:
    """A row in miniature, with an empty data folder and an empty folder of runs."""
    monkeypatch.setenv("CDMLLAB_RUNS", str(tmp_path / "runs"))
    assert runs.root() == tmp_path / "runs"
    folder = tmp_path / "made"
    folder.mkdir()
    return miniature.make(folder, mirror)
