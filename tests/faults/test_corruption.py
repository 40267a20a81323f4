"""Damaged files: each command names the file in one sentence and changes nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.faults.kills import RECIPE, Building, Packing, Training

from cdmllab import evaluate, runs
from cdmllab.data.packs import Pack
from cdmllab.errors import DataError

RELEASED = Path(__file__).parents[2] / "results/models/lab_small.safetensors"
SWEEP = "preset: lab/cpu/arcface\nstages: {a: {seeds: 2, arms: {one: {loss: {name: arcface}}}}}\n"


def cut(path):
    """Remove the second half of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scribble(path):
    """Replace all bytes of the file."""
    path.write_bytes(b"\x00\xffscribble" * 10)


def empty(path):
    """Empty the file."""
    path.write_bytes(b"")


def flip(path):
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


any_damage = pytest.mark.parametrize("damage", [cut, scribble, empty])


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


@any_damage
@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_damaged_record_of_a_run(run, error_message, name, damage):
    damage(run / name)
    assert str(run / name) in error_message("train", "--resume", run)


@any_damage
def test_damaged_network_of_a_run(run, error_message, damage):
    damage(run / "backbone.safetensors")
    assert str(run / "backbone.safetensors") in error_message(
        "evaluate", run, "--protocol", "digits/known"
    )
    assert str(run / "backbone.safetensors") in error_message("export", run)


@pytest.mark.parametrize(
    ("damage", "end"),
    [
        *((damage, end) for damage in (cut, scribble, empty) for end in (".json", ".npz")),
        (flip, ".npz"),
    ],
)
def test_damaged_evaluation_is_measured_again(run, succeed, damage, end):
    judge = ("evaluate", run, "--protocol", "digits/known", "--replicates", "0")
    succeed(*judge)
    path = run / f"eval/digits-known{end}"
    expected = evaluate.Evaluation.read(path.with_suffix(".json")).scores
    damage(path)
    with pytest.raises(ValueError, match=r"digits-known\.json is not an evaluation"):
        evaluate.Evaluation.read(path.with_suffix(".json"))
    succeed(*judge)
    assert (evaluate.Evaluation.read(path.with_suffix(".json")).scores == expected).all()


@any_damage
def test_damaged_protocol_in_a_file(tmp_path, error_message, damage):
    path = tmp_path / "own.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    np.savez_compressed(path, images=pixels, first=[0, 1], second=[2, 3], same=[True, False])
    damage(path)
    assert str(path) in error_message("evaluate", RELEASED, "--protocol", path)


@any_damage
@pytest.mark.parametrize(
    "command", [("export",), ("weights", "show"), ("evaluate", "--protocol", "digits/known")]
)
def test_damaged_release(tmp_path, error_message, damage, command):
    path = Path(shutil.copy(RELEASED, tmp_path / "net.safetensors"))
    damage(path)
    assert str(path) in error_message(*command, path)


@pytest.fixture
def pack(tmp_path):
    job = Packing(tmp_path / "data")
    job.work()
    return job.target


@pytest.fixture
def wrong(invoke):
    """The problems that `cdmllab inspect` finds in a path."""
    return lambda path: invoke(1, "inspect", path).stderr


@any_damage
def test_damaged_pack_is_reported_and_never_read(pack, wrong, damage):
    damage(pack / "train.rec")
    assert f"wrong: {pack / 'train.rec'}" in wrong(pack)
    with pytest.raises(DataError, match=r"train\.rec"):
        Pack(pack).read([301])


def test_flipped_bit_in_a_pack_is_detected(pack, wrong):
    flip(pack / "train.rec")
    assert "wrong: record 300 does not have the checksum it was written with" in wrong(pack)


@pytest.mark.parametrize("damage", [cut, empty])
@pytest.mark.parametrize("name", ["train.idx", "property"])
def test_damaged_side_files_of_a_pack(pack, wrong, name, damage):
    damage(pack / name)
    assert f"wrong: {pack}" in wrong(pack)


def test_changed_images_of_a_world_are_not_trained_on(
    tmp_path, error_message, succeed, monkeypatch
):
    monkeypatch.setenv("CDMLLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "data"))
    small = ["--set", "data.num_identities=8", "--set", "epochs=1", "--set", "batch_size=32"]
    succeed("train", "lab/cpu/arcface", *small)
    (images,) = (tmp_path / "data").rglob("images.u8")
    images.write_bytes(images.read_bytes()[::-1])
    assert str(images.parent) in error_message("train", "lab/cpu/arcface", *small, "--redo")


@any_damage
@pytest.mark.parametrize(("command", "text"), [("train", yaml.safe_dump(RECIPE)), ("sweep", SWEEP)])
def test_damaged_preset_or_sweep(tmp_path, error_message, damage, command, text):
    path = tmp_path / f"{command}.yaml"
    path.write_text(text)
    damage(path)
    assert path.name in error_message(command, path)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    """A built book, to copy."""
    job = Building(tmp_path_factory.mktemp("book") / "tree")
    job.work()
    return job.layout.root


@pytest.fixture
def book(built_once, tmp_path, monkeypatch):
    job = Building(shutil.copytree(built_once, tmp_path / "tree"))
    monkeypatch.chdir(job.layout.root)
    return job


@any_damage
@pytest.mark.parametrize("where", ["notebooks/01_first.ipynb", "book/_toc.yml"])
def test_damaged_notebook_or_table_of_contents(error_message, book, where, damage):
    damage(book.layout.root / where)
    assert Path(where).name in error_message("book", "build")
    assert (book.layout.html / "index.html").is_file()


@any_damage
def test_damaged_executed_chapter_is_run_again(book, damage):
    path = book.layout.output("01_first")
    expected = path.read_bytes()
    damage(path)
    book.work()
    assert path.read_bytes() == expected


@any_damage
def test_damaged_result(tmp_path, error_message, monkeypatch, damage):
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path / "results"))
    path = tmp_path / "results/lab/some.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"command": "x", "git_commit": None, "git_dirty": False, "versions": {}})
    )
    damage(path)
    assert str(path) in error_message("results", "check")
