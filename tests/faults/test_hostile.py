"""Untrusted run folders: no command runs anything in them, and each refusal is one sentence."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from tests.faults import hostile
from tests.faults.kills import RECIPE, Training

from cdmllab import runs, training
from cdmllab.errors import CdmlLabError

LAYOUTS = [hostile.old_format, hostile.every_file, hostile.add_file]
unpickled: list[str] = []
watching = False


def hook(event, arguments):
    if watching and event == "pickle.find_class":
        unpickled.append(".".join(map(str, arguments)))


sys.addaudithook(hook)  # stays until Python ends, which is why it needs to know when to watch


@pytest.fixture(autouse=True)
def _nothing_is_unpickled():
    """Fail any test during which Python looks up a class for a pickle."""
    global watching
    watching = True
    yield
    watching = False
    loaded = [*unpickled]
    unpickled.clear()
    assert loaded == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, to copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Training(folder).work()
    (run,) = runs.Run.list(folder)
    return run.folder


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A finished run in the folder of runs that commands search."""
    monkeypatch.setenv("CDMLLAB_RUNS", str(tmp_path / "runs"))
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture
def content(tmp_path):
    """The pickle; checks at the end that it was not run."""
    marker = tmp_path / "marker"
    yield hostile.evil(marker)
    assert not marker.exists()


def test_pickle_would_run(tmp_path):
    """Without this, the tests below could not fail."""
    import pickle

    pickle.loads(hostile.evil(tmp_path / "marker"))
    assert (tmp_path / "marker").read_text() == "it ran\n"
    assert unpickled == ["posix.system"]
    unpickled.clear()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_resuming_an_untrusted_run(run, error_message, content, layout):
    hostile.stopped(run)
    layout(run / "checkpoints/step-00000005", content)
    assert str(run / "checkpoints") in error_message("train", "--resume", run)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_loading_an_untrusted_run(run, content, layout):
    layout(run / "head", content)
    with pytest.raises(CdmlLabError) as caught:
        training.load(runs.Run.open(run))
    assert str(run / "head") in str(caught.value)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_a_config_that_an_untrusted_run_has_finished(
    run, recipe, error_message, content, layout
):
    """The run is found by the preset's config alone: the user never named it."""
    layout(run / "head", content)
    assert str(run / "head") in error_message("train", recipe)


def test_old_format_is_refused_with_advice(run, recipe, error_message, succeed, content):
    hostile.old_format(run / "head", content)
    assert (
        "train again with --redo, or evaluate and export the network next to it"
        in error_message("train", recipe)
    )
    succeed("evaluate", run, "--protocol", "digits/known", "--replicates", "0")
    succeed("weights", "convert", run, run.parent / "net.safetensors")


def test_old_checkpoint_is_refused_with_advice(run, error_message, succeed, content):
    hostile.stopped(run)
    hostile.old_format(run / "checkpoints/step-00000005", content)
    assert "remove that folder to start the run again" in error_message("train", "--resume", run)
    shutil.rmtree(run / "checkpoints")
    succeed("train", "--resume", run)


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_resuming_an_untrusted_record(run, error_message, content, name):
    hostile.stopped(run)
    (run / name).write_bytes(content)
    assert str(run / name) in error_message("train", "--resume", run)


@pytest.mark.parametrize("name", ["run.json", "backbone.safetensors"])
def test_untrusted_network_is_not_evaluated_exported_or_trained_from(
    run, recipe, error_message, content, name
):
    (run / name).write_bytes(content)
    recipe.write_text(yaml.safe_dump({**RECIPE, "start_from": str(run), "seed": 7}))
    assert str(run / name) in error_message("evaluate", run, "--protocol", "digits/known")
    assert str(run / name) in error_message("export", run)
    assert str(run / name) in error_message("weights", "convert", run, run.parent / "net.pth")
    assert str(run / name) in error_message("train", recipe)
    assert not (run.parent / "net.pth").exists()


@pytest.mark.parametrize("end", [".json", ".npz"])
def test_evaluation_that_is_a_pickle_is_measured_again(run, succeed, content, end):
    judge = ("evaluate", run, "--protocol", "digits/known", "--replicates", "0")
    succeed(*judge)
    path = run / f"eval/digits-known{end}"
    expected = path.read_bytes()
    path.write_bytes(content)
    succeed(*judge)
    assert len(path.read_bytes()) == pytest.approx(len(expected), rel=0.2)


ABSURD = [
    ("num_identities", "many"),
    ("num_identities", [1, 2]),
    ("num_identities", 10**12),
    ("num_identities", None),
    ("data", {"images": [1]}),
    ("data", {"mean_levels": "many"}),
    ("status", "a\nb"),
    ("precision", 10**30),
    ("config", ["seed"]),
    ("earlier_commits", 3),
]


@pytest.mark.parametrize(("key", "value"), ABSURD)
def test_absurd_value_in_a_record_is_refused_by_file(run, error_message, key, value):
    """No command takes memory for it, formats it or compares it before its type is known."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, key: value}))
    message = error_message("train", "--resume", run)
    assert str(run / "run.json") in message or str(run / "head") in message
    assert len(message) <= 500


def test_resuming_a_run_in_an_unknown_precision(run, error_message):
    hostile.stopped(run)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "precision": "many"}))
    assert "run.json: precision must be one of float32" in error_message("train", "--resume", run)


LINKS = [
    "run.json",
    "config.yaml",
    "metrics.jsonl",
    ".lock",
    "backbone.safetensors",
    "eval",
    "tensorboard",
    "head",
    "checkpoints",
    "checkpoints/step-00000005",
    "checkpoints/.step-00000010.tmp",
]


@pytest.mark.parametrize("name", LINKS)
def test_link_in_a_run_is_never_followed(run, tmp_path, error_message, name):
    """Through it a resumed run would write metrics, delete checkpoints or leave evaluations."""
    outside = tmp_path / "outside"
    (outside / "step-00000001").mkdir(parents=True)
    (outside / "precious").write_text("precious")
    (outside / ".left.tmp").write_text("precious")
    before = {path: path.lstat() for path in outside.rglob("*")}
    hostile.stopped(run)
    link = run / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(outside / "precious" if "." in link.name[1:] else outside)
    for command in (
        ("train", "--resume", run),
        ("evaluate", run, "--protocol", "digits/known"),
        ("export", run),
    ):
        assert f"{link} is a link" in error_message(*command)
    assert {path: path.lstat() for path in outside.rglob("*")} == before
