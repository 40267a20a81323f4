import pytest

from cdmllab.data import roots


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder, the only one there is."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(roots.VARIABLE, str(folder))
    monkeypatch.setattr(roots, "_own", tuple)
    return folder
