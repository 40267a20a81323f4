"""`cdmllab reproduce` asks before it fetches, and before it spends days on a CPU."""

import pytest
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.reproduction import names, plan
from cdmllab.training.probe import Probe


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """The command in an empty folder, without its half minute of measuring."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "probe", lambda *_: Probe(10.0, 100.0, 0.1, 500.0, 3))
    return lambda *words: CliRunner().invoke(app, ["reproduce", *words])


def test_all_rows_are_listed_without_an_argument(run):
    done = run()
    assert done.exit_code == 0
    listed = [line.split()[0] for line in done.output.splitlines()[1:-1]]
    assert listed == list(names())
    (line,) = (line for line in done.output.splitlines() if line.startswith("casia/r50_lite_cdml"))
    assert "datn_page, datn_code" in line
    assert "1.7 h" in line


def test_plan_prints_licence_bytes_and_hours_and_fetches_nothing(run, data):
    done = run("casia/r50_lite_cdml", "--plan")
    assert done.exit_code == 0
    for word in (
        "licence: non-commercial research only",
        "history: 494,414 images",
        "fetch    3.5 GB; disk 6.",
        "545.6 h of training here (40 epochs of 491,000 images at 10 per second on cpu, 3 steps",
        "recorded about 1.7 h at the speed of lab_gpu_r50",
        "differs  DATN's page names neither the margin's gradient",
        "differs  trained on the CPU",
    ):
        assert word in done.output
    assert list(data.iterdir()) == []


def test_nothing_is_fetched_without_consent(run, data):
    done = run("casia/r50_lite_cdml")
    assert done.exit_code == 1
    assert "add --accept-terms casia_webface --accept-terms face_bins" in done.output
    assert list(data.iterdir()) == []


def test_training_for_days_on_the_cpu_needs_confirmation(run, data):
    done = run(
        "casia/r50_lite_cdml", "--accept-terms", "casia_webface", "--accept-terms", "face_bins"
    )
    assert done.exit_code == 1
    assert (
        "this machine has no GPU, and on its CPU the training takes about 546 hours: --on-cpu "
        "starts it anyway"
    ) in done.output
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["casia/r50_lite_cmdl"], "did you mean 'casia/r50_lite_cdml'?"),
        (["casia/r50_lite_cdml", "--recipe", "datn_cod"], "did you mean 'datn_code'?"),
        (["casia/r50_lite_cdml", "--accept-terms", "casia"], "cdmllab: no data set 'casia'"),
        (
            ["casia/r50_lite_cdml", "--processes", "3"],
            "batches of 128 cannot be divided equally among 3 processes",
        ),
    ],
)
def test_impossible_request_is_reported_in_a_sentence(run, words, sentence):
    done = run(*words)
    assert done.exit_code == 1
    assert sentence in done.output
