"""`cdmllab bench all`, on scripts that take no time."""

import json

import pytest
from typer.testing import CliRunner

from cdmllab import runs
from cdmllab.cli import app, bench

SCRIPT = """
import sys
from pathlib import Path
with (Path(__file__).parent / "log").open("a") as log:
    print(Path(__file__).stem, *sys.argv[1:], file=log)
sys.exit({code})
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder of benchmarks, of which `data` fails, and no record of any of them."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in bench.SHORT:
        (folder / f"{name}.py").write_text(SCRIPT.format(code=3 if name == "data" else 0))
    monkeypatch.setattr(bench, "folder", lambda: folder)
    monkeypatch.setattr(bench, "memory_gib", lambda: 64.0)
    (tmp_path / "results/benchmarks").mkdir(parents=True)
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path / "results"))
    now = {"git_commit": "abc", "git_dirty": False, "citable": True, "processor": "this one"}
    monkeypatch.setattr(runs, "provenance", lambda: now)
    return tmp_path


def log(folder):
    path = folder / "benchmarks/log"
    return path.read_text().splitlines() if path.exists() else []


def keep(folder, name, **changes):
    record = {"git_commit": "abc", "git_dirty": False, "processor": "this one", **changes}
    (folder / f"results/benchmarks/{name}-cpu.json").write_text(json.dumps(record))


def test_all_run_in_order_and_failures_are_reported_at_the_end(scripts):
    done = CliRunner().invoke(app, ["bench", "all"])
    assert log(scripts) == [" ".join([name, *short.options]) for name, short in bench.SHORT.items()]
    assert done.exit_code == 1
    assert done.stderr == "cdmllab: 1 of 7 benchmarks failed: data\n"


def test_benchmarks_measured_at_this_commit_are_skipped_without_redo(scripts):
    keep(scripts, "heads")
    keep(scripts, "faces", git_dirty=True)
    keep(scripts, "training", git_commit="abd")
    keep(scripts, "evaluation", processor="another one")
    done = CliRunner().invoke(app, ["bench", "all"])
    assert "heads: skipped, already measured at this commit on this machine" in done.stdout
    assert [line.split()[0] for line in log(scripts)] == [
        name for name in bench.SHORT if name != "heads"
    ]
    CliRunner().invoke(app, ["bench", "all", "--redo"])
    assert len(log(scripts)) == 2 * len(bench.SHORT) - 1


def test_benchmark_that_needs_too_much_memory_is_skipped(scripts, monkeypatch):
    monkeypatch.setattr(bench, "memory_gib", lambda: 5.5)
    done = CliRunner().invoke(app, ["bench", "all"])
    ran = {line.split()[0] for line in log(scripts)}
    assert ran == {name for name, short in bench.SHORT.items() if short.gib <= 5.5}
    assert ran < set(bench.SHORT)
    assert "training: skipped, it needs 10 GiB of memory and this machine has 5.5" in done.stdout


def test_options_are_passed_on_to_one_benchmark_and_refused_with_all(scripts):
    refused = CliRunner().invoke(app, ["bench", "all", "--rounds", "1"])
    assert refused.stderr == "cdmllab: 'all' takes no option but --redo, got --rounds\n"
    assert log(scripts) == []
    one = CliRunner().invoke(app, ["bench", "data", "--rounds", "1"])
    assert one.exit_code == 3
    assert log(scripts) == ["data --rounds 1"]


def test_short_runs_name_existing_benchmarks_and_options():
    for name, short in bench.SHORT.items():
        source = (bench.folder() / f"{name}.py").read_text(encoding="utf-8")
        assert all(f'"{option}"' in source for option in short.options if option.startswith("--"))
    assert set(bench.SHORT) <= set(bench.names())


def test_memory_of_this_machine_is_known():
    assert bench.memory_gib() > 0.1
