"""Damaged files: each command says in one sentence which file it is, and changes nothing."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from kills import RECIPE, Building, Packing, Training

from cdmllab import runs

RELEASED = Path(__file__).parents[2] / "results/models/lab_small.safetensors"


def cut(path):
    """The second half of the file is gone."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scribble(path):
    """Nothing in the file is as it was."""
    path.write_bytes(b"\x00\xffscribble" * 10)


def empty(path):
    """The file has no content."""
    path.write_bytes(b"")


def flip(path):
    """One bit in the middle has changed."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, to copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Training(folder).work()
    (run,) = runs.Run.list(folder)
    return run.folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))


@pytest.mark.parametrize("damage", [cut, scribble, empty])
@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_damaged_record_of_a_run(run, told, name, damage):
    damage(run / name)
    assert str(run / name) in told("train", "--resume", run)
    assert str(run / name) in told("evaluate", run, "--protocol", "digits/known")


@pytest.mark.parametrize("damage", [cut, scribble, empty])
def test_damaged_network_of_a_run(run, told, damage):
    damage(run / "backbone.safetensors")
    assert str(run / "backbone.safetensors") in told("evaluate", run, "--protocol", "digits/known")
    assert str(run / "backbone.safetensors") in told("export", run)


@pytest.mark.parametrize("damage", [cut, scribble, empty])
@pytest.mark.parametrize("command", [("export",), ("weights", "show"), ("evaluate", "--protocol", "digits/known")])
def test_damaged_release(tmp_path, told, damage, command):
    path = Path(shutil.copy(RELEASED, tmp_path / "net.safetensors"))
    damage(path)
    assert str(path) in told(*command, path)


@pytest.mark.parametrize("damage", [cut, scribble, empty])
def test_damaged_pack_is_told_and_never_trained_on(tmp_path, told, damage):
    job = Packing(tmp_path / "data")
    job.work()
    damage(job.target / "train.rec")
    assert "train.rec" in told("inspect", job.target)


def test_a_flipped_bit_in_a_pack_is_found(tmp_path, told):
    job = Packing(tmp_path / "data")
    job.work()
    flip(job.target / "train.rec")
    assert "train.rec" in told("inspect", job.target)


@pytest.mark.parametrize("damage", [cut, empty])
@pytest.mark.parametrize("name", ["train.idx", "property"])
def test_damaged_side_files_of_a_pack(tmp_path, told, name, damage):
    job = Packing(tmp_path / "data")
    job.work()
    damage(job.target / name)
    assert str(job.target) in told("inspect", job.target)


@pytest.mark.parametrize("damage", [scribble, flip])
def test_damaged_pictures_of_a_world_are_not_trained_on(tmp_path, told, well, monkeypatch, damage):
    monkeypatch.setenv("CDMLLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "data"))
    small = ["--set", "data.num_identities=8", "--set", "epochs=1", "--set", "batch_size=32"]
    well("train", "lab/cpu/arcface", *small)
    (pictures,) = (tmp_path / "data").rglob("pictures.u8")
    content = bytearray(pictures.read_bytes())
    content[:] = bytes(255 - value for value in content) if damage is flip else content[::-1]
    pictures.write_bytes(content)
    assert str(pictures) in told("train", "lab/cpu/arcface", *small, "--redo")


@pytest.mark.parametrize("damage", [cut, scribble, empty])
def test_damaged_preset_and_sweep(tmp_path, told, damage):
    for command, text in (("train", yaml.safe_dump(RECIPE)), ("sweep", "preset: lab/cpu/arcface\nstages: {a: {seeds: [")):
        path = tmp_path / f"{command}.yaml"
        path.write_text(text)
        damage(path)
        assert str(path) in told(command, path)


@pytest.mark.parametrize("damage", [cut, scribble, empty])
@pytest.mark.parametrize("where", ["notebooks/01_first.ipynb", "book/_toc.yml"])
def test_damaged_notebook_or_table_of_contents(tmp_path, built, told, monkeypatch, where, damage):
    damage(built.root / where)
    monkeypatch.chdir(built.root)
    assert Path(where).name in told("book", "build")


@pytest.mark.parametrize("damage", [cut, scribble, empty])
def test_a_damaged_executed_chapter_is_run_again(built, damage):
    wanted = (built.executed / "01_first.ipynb").read_bytes()
    damage(built.executed / "01_first.ipynb")
    Building.work(type("At", (), {"layout": built}))
    assert (built.executed / "01_first.ipynb").read_bytes() == wanted


@pytest.mark.parametrize("damage", [cut, scribble, empty])
def test_damaged_result(tmp_path, told, monkeypatch, damage):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path / "results"))
    path = tmp_path / "results/lab/some.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"command": "x", "git_commit": None, "git_dirty": False, "versions": {}}))
    damage(path)
    told("results", "check")
