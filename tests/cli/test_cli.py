"""The command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdmllab import __version__, margins
from cdmllab.cli import app
from cdmllab.cli.name_value import joined, read
from cdmllab.training import presets

FILES = {
    "_config.yml": "",
    "book/_toc.yml": "",
    "book/chapters/01_first.py": '# %% tags=["parameters"]\nprofile = "cpu"  # where\nseed = 0  # '
    "start\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "book")
    return tmp_path


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "book" in result.output
    for command in ("build", "run", "status", "sync"):
        assert command in CliRunner().invoke(app, ["book", "--help"]).output


def test_version_is_the_package_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"{__version__}\n"


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = (
        "{'torch', 'papermill', 'jupytext', 'nbformat', 'matplotlib', 'numpy', 'sklearn', 'sphinx'}"
    )
    code = f"import sys, cdmllab.cli; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_user_error_is_one_sentence_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["book", "build"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"cdmllab: {tmp_path} is not inside the book's repository")
    assert result.stderr.count("\n") == 1


def test_sync_check_reports_and_fails_until_in_step(root: Path) -> None:
    result = CliRunner().invoke(app, ["book", "sync", "--check"])
    assert result.exit_code == 1
    assert "notebooks/01_first.ipynb is missing" in result.stderr
    assert result.stdout == "1 chapters, 0 notebooks, 1 out of step\n"
    assert not (root / "notebooks").exists()
    assert CliRunner().invoke(app, ["book", "sync"]).exit_code == 0
    result = CliRunner().invoke(app, ["book", "sync", "--check"])
    assert (result.exit_code, result.stdout) == (0, "1 chapters, 1 notebooks, 0 out of step\n")


def test_status_lists_the_chapters_to_run(root: Path) -> None:
    result = CliRunner().invoke(app, ["book", "status", "-p", "seed", "3"])
    assert result.stdout.splitlines() == ["01_first: never run", "site: never built"]


def test_run_writes_a_notebook_with_the_given_parameters(root: Path) -> None:
    result = CliRunner().invoke(
        app, ["book", "run", "1", "-p", "seed", "3", "--output", "out.ipynb"]
    )
    assert result.exit_code == 0, result.output
    written = (root / "book/out.ipynb").read_text(encoding="utf-8")
    assert "seed = 3" in written
    provenance = json.loads(written)["metadata"]["cdmllab"]["provenance"]
    assert provenance["command"] == "cdmllab book run 1 -p seed 3"
    assert {"date", "wall_s", "git_commit", "git_dirty", "versions", "machine"} <= set(provenance)
    assert not (root / "book/executed/01_first.ipynb").exists()


@pytest.mark.parametrize(
    "args",
    [["-p", "a", "b=c"], ["-p", "a=b=c"], ["--parameter", "a", "b=c"], ["--parameter", "a=b=c"]],
)
def test_parameter_is_a_name_and_a_value(args: list[str]) -> None:
    assert joined([*args, "x", "y"]) == [args[0], "a=b=c", "x", "y"]
    assert read(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_run_refuses_an_unknown_chapter(root: Path) -> None:
    result = CliRunner().invoke(app, ["book", "run", "7"])
    assert (result.exit_code, result.stderr) == (
        1,
        "cdmllab: there is no chapter '7'; the book has 01_first\n",
    )


@pytest.mark.parametrize("given", [["-p", "seed"], ["-p", "3=4"], ["-p", "=4"]])
def test_parameter_of_another_form_is_refused(root: Path, given: list[str]) -> None:
    result = CliRunner().invoke(app, ["book", "status", *given])
    assert result.exit_code == 1
    assert "a parameter is given as `-p NAME VALUE`" in result.stderr


def test_bench_lists_benchmarks_and_refuses_unknown_names():
    listed = CliRunner().invoke(app, ["bench"])
    assert listed.exit_code == 0
    assert "heads" in listed.output.split()
    refused = CliRunner().invoke(app, ["bench", "tails"])
    assert refused.exit_code == 1
    assert "no benchmark 'tails'" in refused.output


def test_unwritable_file_is_reported_in_one_sentence(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notebooks").write_text("not a folder")
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["book", "sync"])
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output
    assert "notebooks" in refused.output


def test_losses_are_listed_with_what_moves_their_margin() -> None:
    lines = CliRunner().invoke(app, ["losses"]).output.splitlines()
    # Columns start where the headings do.
    year, moved, larger = (lines[0].index(name) for name in ("year", "moved by", "larger margin"))
    table = {line.split()[0]: line for line in lines[1:]}
    assert set(margins.names()) <= set(table)
    assert table["magface"][year : year + 4] == "2021"
    assert table["magface"][moved:larger].strip() == "norm"
    assert table["magface"][larger:] == "longer embeddings get the larger margin"


def test_presets_are_listed_in_columns() -> None:
    lines = CliRunner().invoke(app, ["presets"]).output.splitlines()
    assert len(lines) == 1 + len(presets.names())
    for name, line in zip(presets.names(), lines[1:], strict=True):
        config = presets.load(name)
        assert line.split()[0] == name
        assert line[lines[0].index("loss") :].startswith(config.loss.name)
        assert line[lines[0].index("backbone") :].startswith(config.backbone.name)
