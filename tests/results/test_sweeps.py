"""What a sweep records, reading it back, and what the ledger finds wrong with it."""

import json
import math
import re
import subprocess

import numpy as np
import pytest
import yaml
from scipy import stats
from tests.sweeps.test_spec import DIGITS
from tests.sweeps.test_sweep import Here

from cdmllab.results import audit
from cdmllab.errors import CdmlLabError
from cdmllab.results.sweeps import Recorded, family, paired, pairs_for_equivalence
from cdmllab.sweeps import Sweep, load, record

SPEC = {
    "preset": "lab/cpu/arcface",
    "settings": {**DIGITS, "watch": {"log_every": 5}},
    "curves": ["loss", "accuracy", "no/such"],
    "stages": {
        "tune": {
            "arms": {"arcface": {"loss": {"name": "arcface", "scale": 16.0}}, "cdml": {"loss": {"name": "cdml"}}},
            "grid": {"loss.scale": [8.0, 16.0]},
            "protocols": ["digits/strangers"],
        },
        "compare": {"tuned_by": "tune", "seeds": 3, "protocols": ["digits/*"]},
        "more": {"winner_of": "tune", "start_from": "compare", "seeds": 2, "protocols": ["digits/known"]},
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
    told = record.of(spec, Sweep(spec, runs).run(Here(runs)))
    for run in every_run(told):
        run |= {"git_dirty": False, "git_commit": "0" * 40, "citable": True}
    record.write(told, path.with_suffix(".json"))
    return folder


def every_run(told):
    return [run for stage in told["stages"] for group in stage["groups"] for run in group["runs"]]


@pytest.fixture
def recorded(results_folder, monkeypatch):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(results_folder))
    return Recorded("toy")


def test_a_record_gives_back_what_was_measured(recorded):
    assert recorded.arms("compare") == ["arcface", "cdml"]
    assert recorded.seeds("compare", "cdml") == [0, 1, 2]
    one = recorded.values("compare", "arcface", "digits/strangers")
    other = recorded.values("compare", "arcface", "digits/known")
    assert one.shape == (3,)
    assert np.all(one > 0.4)
    np.testing.assert_allclose(
        recorded.values("compare", "arcface", ["digits/strangers", "digits/known"]), (one + other) / 2
    )
    assert set(recorded.chosen("tune")) == {"arcface", "cdml"}
    assert recorded.config("compare", "cdml")["loss"]["name"] == "cdml"
    step, mean, sd = recorded.curve("compare", "cdml", "loss")
    assert step[-1] == 28
    assert mean[0] > mean[-1] > 0
    assert np.all(sd >= 0)
    beside = recorded.beside("compare", "cdml", "arcface", "loss")[1]
    np.testing.assert_allclose(beside, mean - recorded.curve("compare", "arcface", "loss")[1])
    told = recorded.trained()
    assert told["runs"] == 4 + 6 + 2
    assert told["hours"] > 0
    assert every_run(recorded.record)[-1]["started_from"].startswith("lab-cpu-arcface__s1")
    assert {"data", "processor", "train_seconds", "versions"} <= set(every_run(recorded.record)[0])


def test_a_difference_is_paired_by_seed(recorded):
    a, b = (recorded.values("compare", arm, "digits/known") for arm in ("cdml", "arcface"))
    found = recorded.difference("compare", "cdml", "arcface", "digits/known")
    wanted = stats.ttest_rel(a, b)
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.p == pytest.approx(wanted.pvalue)


def test_detectable_differences_are_detected_four_times_in_five():
    rng, n = np.random.default_rng(0), 10
    differences = rng.standard_normal((4000, n))
    detectable = np.mean([paired(row, np.zeros(n)).detectable / row.std(ddof=1) for row in differences[:5]])
    seen = [paired(row + detectable, np.zeros(n)).p < 0.05 for row in differences]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)


def test_paired_without_a_spread_and_with_too_little():
    same = paired(np.ones(3), np.ones(3))
    assert (same.mean, same.sd, same.p) == (0.0, 0.0, 1.0)
    assert not math.isnan(same.low)
    with pytest.raises(ValueError, match="two values or more"):
        paired(np.ones(1), np.ones(1))


def test_a_family_is_judged_by_adjusted_p_values():
    """Alone each of three differences has an interval without zero; of four together only the
    clearest keeps it.
    """
    base = np.arange(-3.5, 4.0)
    found = {
        "clear": paired(base - 6.0, np.zeros(8)),
        "near": paired(base + 2.2, np.zeros(8)),
        "nearer": paired(base + 2.3, np.zeros(8)),
        "none": paired(base + 0.1, np.zeros(8)),
    }
    assert [d.verdict for d in found.values()] == ["lower", "higher", "higher", "not told apart"]
    together = family(found)
    assert [d.verdict for d in together.values()] == ["lower", *["not told apart"] * 3]
    assert together["clear"].p_family == pytest.approx(4 * found["clear"].p)
    assert together["nearer"].p_family == pytest.approx(3 * found["nearer"].p)
    assert together["none"].p_family == pytest.approx(found["none"].p)
    assert together["near"][:-1] == found["near"][:-1]  # interval and p-value stay
    assert family({"alone": found["near"]})["alone"].verdict == "higher"


def test_arms_that_did_the_same_are_no_test_of_a_family():
    same, apart = paired(np.ones(8), np.ones(8)), paired(np.arange(8.0), np.full(8, 1.2))
    found = family({"same": same, "apart": apart})
    assert found["same"].verdict == "not told apart"
    assert found["apart"].p_family == apart.p
    assert family({"same": same})["same"].p_family == 1.0
    shifted = paired(np.ones(8), np.zeros(8))  # no spread, and yet not the same
    assert family({"shifted": shifted, "apart": apart})["shifted"].verdict == "higher"


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda r: r.values("compar", "cdml", "digits/known"), "no stage 'compar' .did you mean "
                                                               "'compare'"),
        (lambda r: r.values("compare", "cdm", "digits/known"), "no arm 'cdm' .did you mean 'cdml'"),
        (lambda r: r.values("compare", "cdml", "digits/know"), "not judged by 'digits/know' .did you "
                                                               "mean"),
        (lambda r: r.values("tune", "cdml", "digits/strangers"), "cdml was tried at 2 points; see "
                                                                 "`chosen`"),
        (lambda r: r.curve("compare", "cdml", "lr"), "keeps no curve 'lr'"),
        (lambda r: Recorded("none"), "there is no result 'sweeps/none'"),
    ],
)
def test_a_wrong_question_gets_a_sentence(recorded, ask, sentence):
    with pytest.raises(CdmlLabError, match=sentence):
        ask(recorded)


def copy(results_folder, tmp_path, change=lambda told: None, **spec):
    """The results, with something changed."""
    (tmp_path / "results/sweeps").mkdir(parents=True)
    target = tmp_path / "results/sweeps/toy.json"
    told = json.loads((results_folder / "sweeps/toy.json").read_text())
    change(told)
    record.write(told, target)
    target.with_suffix(".yaml").write_text(yaml.safe_dump({**SPEC, **spec}, sort_keys=False))
    return tmp_path / "results"


def at_an_unknown_commit(told):
    every_run(told)[5] |= {"git_commit": "unknown", "git_dirty": None, "citable": False}


def begun_at_an_unknown_commit(told):
    every_run(told)[5]["citable"] = False


def dirty(told):
    every_run(told)[5]["git_dirty"] = True


def missing(told):
    told["stages"][1]["groups"][1]["runs"].pop()


def foreign(told):
    told["stages"][1]["groups"][1]["runs"].append({**every_run(told)[-1], "seed": 7})


def unjudged(told):
    del told["stages"][1]["groups"][0]["runs"][0]["measures"]["digits/known"]


def unmirrored(told):
    told["stages"][1]["groups"][0]["flip"] = True


def in_two_precisions(told):
    told["stages"][1]["groups"][0]["runs"][0]["precision"] = "bfloat16"


def without_stage(told):
    told["stages"].pop()


def test_a_record_in_order_has_no_faults(results_folder, tmp_path):
    seen, faults = audit.check(copy(results_folder, tmp_path), tmp_path)
    assert faults == []
    assert seen["sweeps"] == ["toy"]


def test_a_record_that_does_not_know_about_flip_is_in_order(results_folder, tmp_path):
    def forget(told):
        for stage in told["stages"]:
            for group in stage["groups"]:
                del group["flip"]

    assert audit.check(copy(results_folder, tmp_path, forget), tmp_path)[1] == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dirty, "compare/arcface/s1: run .* was made with changes that are not committed"),
        (at_an_unknown_commit, "compare/arcface/s1: run .* does not know the commit it was made "
                               "at"),
        (begun_at_an_unknown_commit, "compare/arcface/s1: run .* is marked as not citable"),
        (missing, "compare/cdml/s2 is missing"),
        (foreign, "compare/cdml, seed 7 is not in the spec"),
        (unmirrored, "was judged with flip True, and the spec says False now"),
        (unjudged, "was not judged by digits/known"),
        (in_two_precisions, "the runs of stage compare were computed in bfloat16 and in float32"),
        (without_stage, "stage more of the spec is missing"),
    ],
)
def test_a_record_that_is_not_in_order(results_folder, tmp_path, change, sentence):
    _, faults = audit.check(copy(results_folder, tmp_path, change), tmp_path)
    assert any(re.search(sentence, fault) for fault in faults), faults


def test_a_spec_that_leaves_the_precision_to_the_machine_fits_a_record_in_any(results_folder, tmp_path):
    changed = copy(results_folder, tmp_path / "a", settings={**SPEC["settings"], "speed.precision": "auto"})
    assert audit.check(changed, tmp_path)[1] == []
    changed = copy(results_folder, tmp_path / "b", settings={**SPEC["settings"], "speed.precision": "bfloat16"})
    assert "is of another config than the spec says now" in audit.check(changed, tmp_path)[1][0]


def test_a_spec_that_was_changed_after_the_runs(results_folder, tmp_path):
    changed = copy(results_folder, tmp_path, settings={**SPEC["settings"], "epochs": 3})
    _, faults = audit.check(changed, tmp_path)
    assert "is of another config than the spec says now" in faults[0]


def test_other_records_need_their_provenance_and_citations_a_record(tmp_path):
    folder, book = tmp_path / "results", tmp_path / "book"
    (book / "chapters").mkdir(parents=True)
    folder.mkdir()
    whole = {"command": "cdmllab bench x", "git_commit": "0" * 40, "git_dirty": False, "versions": {}}
    (folder / "good.json").write_text(json.dumps(whole))
    (folder / "bad.json").write_text(json.dumps({**whole, "git_dirty": True}))
    unknown = {**whole, "git_commit": "unknown", "git_dirty": None, "citable": False}
    (folder / "lost.json").write_text(json.dumps(unknown))
    (folder / "old.json").write_text(json.dumps({**whole, "git_commit": None}))
    (folder / "part.json").write_text(json.dumps({**whole, "citable": False}))
    (folder / "poor.json").write_text(json.dumps({"git_commit": "0" * 40}))
    (folder / "torn.json").write_text("{")
    (book / "chapters/01_x.py").write_text('results.load("good")\nresults.load("gone")\nsweeps.Recorded("lab")\n')
    seen, faults = audit.check(folder, book)
    assert seen["citations"] == ["01_x.py -> good", "01_x.py -> gone", "01_x.py -> lab"]
    assert faults[0] == "bad: was measured with changes that are not committed"
    assert faults[1].startswith("lost: does not know its commit")
    assert faults[2].startswith("old: does not know its commit")
    assert faults[3] == "part: is marked as not citable"
    assert "poor: has no command" in faults
    assert any("torn.json is not readable JSON" in fault for fault in faults)
    assert faults[-2:] == ["01_x.py cites gone, and there is no such record",
                           "01_x.py cites lab, and there is no such record"]  # fmt: skip


def test_chapters_kept_as_results_need_their_provenance(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    whole = {"command": "cdmllab book run 9", "git_commit": "0" * 40, "git_dirty": False, "versions": {}}
    for name, provenance in (("good", whole), ("dirty", {**whole, "git_dirty": True}), ("none", None)):
        metadata = {"cdmllab": {"provenance": provenance}} if provenance else {}
        (folder / f"{name}.ipynb").write_text(json.dumps({"metadata": metadata}))
    seen, faults = audit.check(folder, tmp_path)
    assert seen["chapters"] == ["dirty.ipynb", "good.ipynb", "none.ipynb"]
    assert faults == [
        "dirty.ipynb: was measured with changes that are not committed",
        "none.ipynb does not say where it comes from: write it with `cdmllab book run`",
    ]


def test_commits_are_looked_up_where_the_history_is_there_and_counted(tmp_path):
    """In a folder that git does not know, no commit can be checked, and the report says that none
    was.
    """
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


def test_the_projects_own_results_are_in_order():
    seen, faults = audit.check()
    assert faults == []
    assert len(seen["records"]) >= 4


def test_equivalence_is_two_one_sided_tests():
    d = np.random.default_rng(5).normal(0.05, 0.2, 12)
    got = paired(d, np.zeros(12)).within(0.2)
    above = stats.ttest_1samp(d, -0.2, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 0.2, alternative="less").pvalue
    assert got.p == pytest.approx(max(above, below), rel=1e-12)
    interval = stats.ttest_1samp(d, 0.0).confidence_interval(0.9)
    assert (got.low, got.high) == pytest.approx(tuple(interval), rel=1e-12)


@pytest.mark.parametrize(
    ("mean", "bound", "verdict"),
    [
        (0.0, 0.2, "equivalent"),
        (0.0, 0.02, "inconclusive"),
        (0.1, 0.3, "too small to matter"),
        (0.1, 0.11, "different"),
        (-0.1, 0.11, "different"),
        (-0.1, 0.3, "too small to matter"),
    ],
)
def test_a_difference_has_one_of_four_verdicts(mean, bound, verdict):
    spread = np.array([-0.05, 0.05] * 6)
    assert paired(mean + spread, np.zeros(12)).within(bound).verdict == verdict


def test_equivalence_without_a_spread_and_without_a_bound():
    same = paired(np.ones(3), np.ones(3))
    assert same.within(0.1).verdict == "equivalent"
    shifted = paired(np.full(3, 1.2), np.ones(3))
    assert shifted.within(0.1).p == 1.0
    with pytest.raises(ValueError, match="the smallest effect of interest must be above 0, got 0"):
        same.within(0)


def test_as_many_pairs_as_equivalence_needs_have_the_power_asked_for():
    n = pairs_for_equivalence(0.25, 0.2)
    draws = np.random.default_rng(0).normal(0.0, 0.25, (4000, n))
    half = stats.t.ppf(0.95, n - 1) * draws.std(axis=1, ddof=1) / math.sqrt(n)
    shown = (np.abs(draws.mean(axis=1)) + half < 0.2).mean()
    assert 0.78 < shown < 0.86
    draws = draws[:, :-1]  # one pair fewer is too few, or very nearly
    half = stats.t.ppf(0.95, n - 2) * draws.std(axis=1, ddof=1) / math.sqrt(n - 1)
    assert (np.abs(draws.mean(axis=1)) + half < 0.2).mean() < shown
    assert pairs_for_equivalence(0.0, 0.2) == 2
    with pytest.raises(ValueError, match="no number of pairs below 100,000"):
        pairs_for_equivalence(1e6, 0.1)
    with pytest.raises(ValueError, match="power in"):
        pairs_for_equivalence(0.1, 0.1, 1.0)
