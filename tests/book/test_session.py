import numpy as np
import pytest
import torch

from cdmllab.book import session

PARAMETERS = 'profile = "cpu"  # where\nseed = 0\nloss = "cdml"'


def test_unknown_injected_parameter_is_reported_with_the_nearest():
    result = session.unknown_parameters([PARAMETERS, "# Parameters\nsed = 1\nloss = 'arcface'"])
    assert result == {"sed": " (did you mean 'seed'?)"}


def test_known_injected_parameters_pass():
    assert session.unknown_parameters([PARAMETERS, "# Parameters\nseed = 1"]) == {}
    assert session.unknown_parameters(["seed: int = 0", "# Parameters\nseed = 1"]) == {}
    assert session.unknown_parameters(["%matplotlib inline", PARAMETERS]) == {}


def test_start_rejects_an_unknown_profile():
    with pytest.raises(ValueError, match="profile must be 'cpu' or 'gpu'"):
        session.start("tpu", 0)


def test_start_reports_a_missing_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    lab = session.start("gpu", 7)
    assert lab.device == "cpu"
    assert lab.runs.is_dir()
    assert "no CUDA device was found: running on the CPU" in capsys.readouterr().out


def test_table_is_markdown():
    text = session.Table(["a", "b"], [["x", 1]])._repr_markdown_()
    assert text == "| a | b |\n| --- | --: |\n| x | 1 |"


def test_columns_of_numbers_are_flush_right_and_columns_of_words_are_not():
    rows = [
        ["x", "+0.02 [-0.30, +0.54]", "yes", "", "all", "12,000 pairs"],
        ["y", "", "no", "–", "", "three"],
    ]
    rule = session.Table(list("abcdef"), rows)._repr_markdown_().splitlines()[1]
    assert rule == "| --- | --: | --- | --: | --- | --- |"


def test_cells_are_written_for_readers():
    (_, _, row) = session.Table(["a", "b"], [[1 / 3, "91.0 ± 1.4"]])._repr_markdown_().splitlines()
    assert row == "| 0.333333 | 91.0 ±\N{NO-BREAK SPACE}1.4 |"


def test_mean_sd_is_in_per_cent():
    assert session.mean_sd([0.9, 0.92]) == "91.0 ± 1.4"
    assert session.mean_sd([0.5]) == "50.0"


def test_p_values_are_never_zero():
    assert [session.p_value(p) for p in (1.0, 0.0166, 0.0005, 0.0004, 0.0)] == [
        "1.000",
        "0.017",
        "0.001",
        "<0.001",
        "<0.001",
    ]
    rows = [["x", session.p_value(0.3)], ["y", session.p_value(1e-9)]]
    assert "| --- | --: |" in session.Table(["a", "p"], rows)._repr_markdown_()


def test_comparison_names_the_larger_of_two_numbers():
    assert session.comparison(0.9, 0.8) == "above"
    assert session.comparison(0.8, 0.9) == "below"
    assert session.comparison(0.8, 0.8) == "level with"
    assert session.comparison(2, 1, "slower than", "faster than") == "slower than"


def test_notebook_uses_one_thread_by_default(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", (seen := []).append)
    session.start("cpu", 0)
    monkeypatch.setenv("CDMLLAB_THREADS", "4")
    session.start("cpu", 0)
    assert seen == [1, 4]


def test_values_for_the_prose_are_plain(monkeypatch):
    kept = {}
    monkeypatch.setattr(
        "myst_nb.glue", lambda name, value, display: kept.update({name: (value, display)})
    )
    session.report(a=np.float64(0.5), b=torch.tensor(3), c="as it is", d=2)
    assert kept == {"a": (0.5, False), "b": (3, False), "c": ("as it is", False), "d": (2, False)}
    assert [type(value) for value, _ in kept.values()] == [float, int, str, int]
