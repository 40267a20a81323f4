"""The record of a sweep, its reader, and the faults that the audit reports."""

import json
import re
import subprocess

import numpy as np
import pytest
import yaml
from scipy import stats
from tests.sweeps.test_spec import DIGITS
from tests.sweeps.test_sweep import Here

from cdmllab.errors import CdmlLabError
from cdmllab.results import audit
from cdmllab.results.sweeps import Recorded
from cdmllab.sweeps import Sweep, load, record

SPEC = {
    "preset": "lab/cpu/arcface",
    "settings": {**DIGITS, "watch": {"log_every": 5}},
    "curves": ["loss", "accuracy", "no/such"],
    "stages": {
        "tune": {
            "arms": {
                "arcface": {"loss": {"name": "arcface", "scale": 16.0}},
                "cdml": {"loss": {"name": "cdml"}},
            },
            "grid": {"loss.scale": [8.0, 16.0]},
            "protocols": ["digits/strangers"],
        },
        "compare": {"tuned_by": "tune", "seeds": 3, "protocols": ["digits/*"]},
        "more": {
            "winner_of": "tune",
            "start_from": "compare",
            "seeds": 2,
            "protocols": ["digits/known"],
        },
    },
}


@pytest.fixture(scope="module")
def results_folder(tmp_path_factory):
    """A folder of results with one recorded sweep, as clean as if its runs came from a commit."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "sweeps").mkdir()
    path = folder / "sweeps/toy.yaml"
    path.write_text(yaml.safe_dump(SPEC, sort_keys=False))
    runs = tmp_path_factory.mktemp("runs")
    spec = load(path)
    sweep_record = record.build(spec, Sweep(spec, runs).run(Here(runs)))
    for run in every_run(sweep_record):
        run |= {"git_dirty": False, "git_commit": "0" * 40, "citable": True}
    record.write(sweep_record, path.with_suffix(".json"))
    return folder


def every_run(sweep_record):
    return [
        run
        for stage in sweep_record["stages"]
        for group in stage["groups"]
        for run in group["runs"]
    ]


@pytest.fixture
def recorded(results_folder, monkeypatch):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(results_folder))
    return Recorded("toy")


def test_record_returns_the_measured_values(recorded):
    assert recorded.arms("compare") == ["arcface", "cdml"]
    assert recorded.seeds("compare", "cdml") == [0, 1, 2]
    one = recorded.values("compare", "arcface", "digits/strangers")
    other = recorded.values("compare", "arcface", "digits/known")
    assert one.shape == (3,)
    assert np.all(one > 0.4)
    np.testing.assert_allclose(
        recorded.values("compare", "arcface", ["digits/strangers", "digits/known"]),
        (one + other) / 2,
    )
    assert set(recorded.chosen("tune")) == {"arcface", "cdml"}
    assert recorded.config("compare", "cdml")["loss"]["name"] == "cdml"
    step, mean, sd = recorded.curve("compare", "cdml", "loss")
    assert step[-1] == 28
    assert mean[0] > mean[-1] > 0
    assert np.all(sd >= 0)
    minus_arcface = recorded.curve_difference("compare", "cdml", "arcface", "loss")[1]
    np.testing.assert_allclose(
        minus_arcface, mean - recorded.curve("compare", "arcface", "loss")[1]
    )
    trained = recorded.trained()
    assert trained["runs"] == 4 + 6 + 2
    assert trained["hours"] > 0
    assert every_run(recorded.record)[-1]["started_from"].startswith("lab-cpu-arcface__s1")
    assert {"data", "processor", "train_seconds", "versions"} <= set(every_run(recorded.record)[0])


def test_difference_is_paired_by_seed(recorded):
    a, b = (recorded.values("compare", arm, "digits/known") for arm in ("cdml", "arcface"))
    difference = recorded.difference("compare", "cdml", "arcface", "digits/known")
    expected = stats.ttest_rel(a, b)
    assert difference.mean == pytest.approx((a - b).mean())
    assert (difference.low, difference.high) == pytest.approx(
        tuple(expected.confidence_interval(0.95))
    )
    assert difference.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            lambda r: r.values("compar", "cdml", "digits/known"),
            "no stage 'compar' .did you mean 'compare'",
        ),
        (lambda r: r.values("compare", "cdm", "digits/known"), "no arm 'cdm' .did you mean 'cdml'"),
        (
            lambda r: r.values("compare", "cdml", "digits/know"),
            "not evaluated on 'digits/know' .did you mean",
        ),
        (
            lambda r: r.values("tune", "cdml", "digits/strangers"),
            "cdml was tried at 2 points; see `chosen`",
        ),
        (lambda r: r.curve("compare", "cdml", "lr"), "has no curve 'lr' of cdml"),
        (lambda r: Recorded("none"), "no result 'sweeps/none'"),
    ],
)
def test_unknown_name_in_a_record_is_reported(recorded, query, message):
    with pytest.raises(CdmlLabError, match=message):
        query(recorded)


def copy(results_folder, tmp_path, change=lambda sweep_record: None, **spec):
    """A copy of the results with a change to the record or its spec."""
    (tmp_path / "results/sweeps").mkdir(parents=True)
    target = tmp_path / "results/sweeps/toy.json"
    sweep_record = json.loads((results_folder / "sweeps/toy.json").read_text())
    change(sweep_record)
    record.write(sweep_record, target)
    target.with_suffix(".yaml").write_text(yaml.safe_dump({**SPEC, **spec}, sort_keys=False))
    return tmp_path / "results"


def at_an_unknown_commit(sweep_record):
    every_run(sweep_record)[5] |= {"git_commit": "unknown", "git_dirty": None, "citable": False}


def started_at_an_unknown_commit(sweep_record):
    every_run(sweep_record)[5]["citable"] = False


def dirty(sweep_record):
    every_run(sweep_record)[5]["git_dirty"] = True


def missing(sweep_record):
    sweep_record["stages"][1]["groups"][1]["runs"].pop()


def unexpected_seed(sweep_record):
    sweep_record["stages"][1]["groups"][1]["runs"].append(
        {**every_run(sweep_record)[-1], "seed": 7}
    )


def not_evaluated(sweep_record):
    del sweep_record["stages"][1]["groups"][0]["runs"][0]["measures"]["digits/known"]


def unmirrored(sweep_record):
    sweep_record["stages"][1]["groups"][0]["flip"] = True


def in_two_precisions(sweep_record):
    sweep_record["stages"][1]["groups"][0]["runs"][0]["precision"] = "float16"


def without_stage(sweep_record):
    sweep_record["stages"].pop()


def test_sound_record_has_no_faults(results_folder, tmp_path):
    seen, faults = audit.check(copy(results_folder, tmp_path), tmp_path)
    assert faults == []
    assert seen["sweeps"] == ["toy"]


def test_record_without_flip_has_no_faults(results_folder, tmp_path):
    def forget(sweep_record):
        for stage in sweep_record["stages"]:
            for group in stage["groups"]:
                del group["flip"]

    assert audit.check(copy(results_folder, tmp_path, forget), tmp_path)[1] == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dirty, "compare/arcface/s1: run .* was made with uncommitted changes"),
        (
            at_an_unknown_commit,
            "compare/arcface/s1: run .* has no known commit",
        ),
        (started_at_an_unknown_commit, "compare/arcface/s1: run .* is marked as not citable"),
        (missing, "compare/cdml/s2 is missing"),
        (unexpected_seed, "compare/cdml, seed 7 is not in the spec"),
        (unmirrored, "was judged with flip True, but the spec now says False"),
        (not_evaluated, "was not evaluated on digits/known"),
        (in_two_precisions, "the runs of stage compare were computed in .*float"),
        (without_stage, "stage more of the spec is missing"),
    ],
)
def test_fault_of_a_record_is_reported(results_folder, tmp_path, change, sentence):
    _, faults = audit.check(copy(results_folder, tmp_path, change), tmp_path)
    assert any(re.search(sentence, fault) for fault in faults), faults


def test_spec_with_automatic_precision_accepts_a_record_in_any_precision(results_folder, tmp_path):
    changed = copy(
        results_folder, tmp_path / "a", settings={**SPEC["settings"], "speed.precision": "auto"}
    )
    assert audit.check(changed, tmp_path)[1] == []
    changed = copy(
        results_folder, tmp_path / "b", settings={**SPEC["settings"], "speed.precision": "bfloat16"}
    )
    assert "has another config than the spec has now" in audit.check(changed, tmp_path)[1][0]


def test_spec_changed_after_the_runs_is_reported(results_folder, tmp_path):
    changed = copy(results_folder, tmp_path, settings={**SPEC["settings"], "epochs": 3})
    _, faults = audit.check(changed, tmp_path)
    assert "has another config than the spec has now" in faults[0]


def test_records_need_provenance_and_citations_need_records(tmp_path):
    folder, book = tmp_path / "results", tmp_path / "book"
    (book / "chapters").mkdir(parents=True)
    folder.mkdir()
    complete = {
        "command": "cdmllab bench x",
        "git_commit": "0" * 40,
        "git_dirty": False,
        "versions": {},
    }
    (folder / "good.json").write_text(json.dumps(complete))
    (folder / "bad.json").write_text(json.dumps({**complete, "git_dirty": True}))
    unknown = {**complete, "git_commit": "unknown", "git_dirty": None, "citable": False}
    (folder / "lost.json").write_text(json.dumps(unknown))
    (folder / "old.json").write_text(json.dumps({**complete, "git_commit": None}))
    (folder / "part.json").write_text(json.dumps({**complete, "citable": False}))
    (folder / "poor.json").write_text(json.dumps({"git_commit": "0" * 40}))
    (folder / "torn.json").write_text("{")
    (book / "chapters/01_x.py").write_text(
        'results.load("good")\nresults.load("gone")\nsweeps.Recorded("lab")\n'
    )
    seen, faults = audit.check(folder, book)
    assert seen["citations"] == ["01_x.py -> good", "01_x.py -> gone", "01_x.py -> lab"]
    assert faults[0] == "bad: was measured with uncommitted changes"
    assert faults[1].startswith("lost: has no known commit")
    assert faults[2].startswith("old: has no known commit")
    assert faults[3] == "part: is marked as not citable"
    assert "poor: has no command" in faults
    assert any("torn.json is not readable JSON" in fault for fault in faults)
    assert faults[-2:] == ["01_x.py cites gone, but there is no such record",
                           "01_x.py cites lab, but there is no such record"]  # fmt: skip


def test_executed_chapters_need_provenance(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    complete = {
        "command": "cdmllab book run 9",
        "git_commit": "0" * 40,
        "git_dirty": False,
        "versions": {},
    }
    for name, provenance in (
        ("good", complete),
        ("dirty", {**complete, "git_dirty": True}),
        ("none", None),
    ):
        metadata = {"cdmllab": {"provenance": provenance}} if provenance else {}
        (folder / f"{name}.ipynb").write_text(json.dumps({"metadata": metadata}))
    seen, faults = audit.check(folder, tmp_path)
    assert seen["chapters"] == ["dirty.ipynb", "good.ipynb", "none.ipynb"]
    assert faults == [
        "dirty.ipynb: was measured with uncommitted changes",
        "none.ipynb has no provenance: write it with `cdmllab book run`",
    ]


def test_commits_are_looked_up_in_a_complete_history(tmp_path):
    """In a folder outside git no commit can be checked, and the report states it."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=b"]
    results = tmp_path / "results"
    results.mkdir()
    there = {"command": "cdmllab bench x", "git_dirty": False, "versions": {}}
    (results / "a.json").write_text(json.dumps({**there, "git_commit": "0" * 40}))
    assert audit.check(results, tmp_path)[0]["commits in this history"] == []
    assert audit.check(results, tmp_path)[1] == []
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    (results / "b.json").write_text(json.dumps({**there, "git_commit": head}))
    seen, faults = audit.check(results, tmp_path)
    assert seen["commits in this history"] == [head[:12]]
    assert faults == ["a: commit 000000000000 is not in this history"]


def test_commits_without_end_are_not_looked_up(tmp_path, monkeypatch):
    """Each look-up starts git: a record with 20,000 commits would take minutes."""
    calls = []
    monkeypatch.setattr(audit, "git", lambda *words, **_: calls.append(words) or "false")
    (tmp_path / "results").mkdir()
    many = [{"git_commit": f"{number:040x}"} for number in range(20_000)]
    there = {
        "command": "x",
        "git_commit": many[0]["git_commit"],
        "git_dirty": False,
        "versions": {},
    }
    (tmp_path / "results/a.json").write_text(json.dumps({**there, "more": many}))
    _, faults = audit.check(tmp_path / "results", tmp_path)
    assert faults == ["a: names 20,000 commits; at most 1,000 are looked up"]
    assert len(calls) == 1


@pytest.mark.parametrize("commit", [["a"], 3, {}, True])
def test_commit_that_is_no_text_is_unknown(tmp_path, commit):
    (tmp_path / "results").mkdir()
    there = {"command": "x", "git_dirty": False, "versions": {}}
    (tmp_path / "results/a.json").write_text(json.dumps({**there, "git_commit": commit}))
    _, faults = audit.check(tmp_path / "results", tmp_path)
    assert faults == ["a: has no known commit: measure again in a checkout that git can read"]


def test_names_of_records_and_faults_stay_on_one_short_line(tmp_path):
    (tmp_path / "results/mutation").mkdir(parents=True)
    survivor = {"reason": "", "function": "x" * 100_000, "to": "y"}
    score = {"survivors": [survivor], "killed": 99, "mutants": 100}
    there = {"command": "x", "git_commit": "a" * 40, "git_dirty": False, "versions": {}}
    (tmp_path / "results/mutation/a\nb.json").write_text(json.dumps({**there, **score}))
    seen, (fault,) = audit.check(tmp_path / "results", tmp_path)
    assert seen["records"] == ["mutation/a b"]
    assert fault.isprintable()
    assert len(fault) <= 1000


def test_committed_results_have_no_faults():
    seen, faults = audit.check()
    assert faults == []
    assert len(seen["records"]) >= 4
