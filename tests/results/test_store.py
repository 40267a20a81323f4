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
    named = [
        f"lab/{protocol}" for protocol in ("lfw", "cfp_ff", "cfp_fp", "agedb_30", "calfw", "cplfw")
    ]
    for sweep in ("lab_main", "lab_document"):
        difference = Recorded(sweep).difference("compare", "cdml_easy", "arcface", named)
        assert difference.format() in readme
        assert f"over {difference.n} paired seeds" in readme
        assert difference.verdict == "not distinguishable"  # "no difference was found"
    of_the_margin = Recorded("lab_losses").difference("compare", "softmax", "arcface", named)
    assert f"softmax without any margin differs from ArcFace by {of_the_margin.format()}" in readme
