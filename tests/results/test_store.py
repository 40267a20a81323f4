import pytest

from cdmllab import results
from cdmllab.errors import CdmlLabError
from cdmllab.results.sweeps import Recorded


def test_record_is_read_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path))
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/heads-cpu.json").write_text('{"device": "a"}')
    assert results.load("benchmarks/heads-cpu") == {"device": "a"}
    assert results.benchmark("heads") == {"device": "a"}
    assert results.benchmark("heads", "cuda") is None


def test_missing_or_broken_record_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path))
    with pytest.raises(CdmlLabError, match=r"no result 'lab/x': .*x\.json does not exist"):
        results.load("lab/x")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(CdmlLabError, match=r"x\.json is not readable JSON"):
        results.load("x")
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path / "none"))
    with pytest.raises(CdmlLabError, match="no folder of results"):
        results.folder()


def test_readme_reports_the_recorded_difference():
    """The numbers on the project's first page follow its records."""
    readme = " ".join((results.folder().parent / "README.md").read_text(encoding="utf-8").split())
    protocol = "omniglot/strangers"
    of_the_margin = Recorded("omniglot_confirm").difference(
        "confirm", "arcface", "normface", protocol
    )
    compare = Recorded("omniglot_compare")
    primary = compare.difference("compare", "cdml_document", "arcface", protocol)
    assert f"a fixed margin is worth {of_the_margin.format()} points" in readme
    assert f"differs from ArcFace by {primary.format()} points over {primary.n} paired" in readme
    assert f"{100 * primary.detectable:.2f} points would have been found" in readme
    assert f"*{primary.within(0.002).verdict}*" in readme
    for arm in ("cdml_easy", "cdml_hard"):
        assert compare.difference("compare", arm, "arcface", protocol).format() in readme
