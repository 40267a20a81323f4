"""Paths of configs and data: deep, absolute, relative, or missing."""

import os
from pathlib import Path

import pytest
import yaml
from tests.data.making import folder, write_pack

from cdmllab.data import registry
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.training import datasets, presets, train

PLAIN = {
    "data": {"name": "folder", "folder": "people"},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 16, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0},
    "epochs": 1,
    "batch_size": 4,
}


def own(path: Path, **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**PLAIN, **changes}))
    return path


def test_a_run_is_named_after_its_file_and_not_after_the_path_to_it(data, tmp_path):
    folder(data / "people", (3, 3))
    deep = own(tmp_path / "/".join(["a_long_folder_name"] * 12) / "mine.yaml")
    assert len(str(deep)) > 220
    first = train(presets.load(str(deep)), within=tmp_path / "runs").run
    assert first.folder.name.startswith("mine__s0__")
    again = train(presets.load(os.path.relpath(deep)), within=tmp_path / "runs").run
    assert again.folder == first.folder  # the same file by another path is the same training
    assert presets.load(str(own(tmp_path / "two.yaml", name="called"))).name == "called"


def test_a_preset_by_the_path_of_its_file_is_that_preset():
    assert presets.load(str(presets.FOLDER / "lab/cpu/arcface.yaml")) == presets.load(
        "lab/cpu/arcface"
    )


@pytest.fixture
def people(tmp_path, monkeypatch):
    """A folder of people outside every data folder, below the current one."""
    monkeypatch.chdir(tmp_path)
    return folder(tmp_path / "mine/people", (2, 3))


def test_data_is_found_by_an_absolute_path_also_without_any_data_folder(people, data):
    for there in (True, False):
        if not there:
            data.rmdir()
        assert datasets.missing("folder", {"folder": str(people)}) == ""
        assert len(datasets.load("folder", {"folder": str(people)})) == 5


def test_data_is_found_by_a_path_from_the_current_folder_and_from_home(
    people, data, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (
        "mine/people",
        "./mine/people",
        "../" + tmp_path.name + "/mine/people",
        "~/mine/people",
    ):
        assert len(datasets.load("folder", {"folder": path})) == 5


def test_a_data_folder_comes_before_the_current_one(people, data):
    folder(data / "mine/people", (4, 4))
    assert len(datasets.load("folder", {"folder": "mine/people"})) == 8


def test_a_pack_may_be_named_by_its_file(tmp_path, data):
    write_pack(tmp_path / "pack")
    assert len(datasets.load("pack", {"folder": str(tmp_path / "pack/train.rec")})) == 6


def test_missing_data_is_named_without_inventing_a_script(people, data):
    with pytest.raises(DataError, match=r"^/nowhere/faces_112 does not exist$"):
        datasets.load("pack", {"folder": "/nowhere/faces_112"})
    message = datasets.missing("pack", {"folder": "sub/faces_112"})
    assert message == f"sub/faces_112 is neither in a data folder ({data}) nor in the current one"
    settings = presets.load(str(own(people / "x.yaml", data={"name": "pack", "folder": "gone"})))
    with pytest.raises(CdmlLabError, match="is neither in a data folder"):
        train(settings, within=people)


SCRIPTS = Path(__file__).parents[2] / "data_scripts"


@pytest.mark.parametrize("made", ["casia_webface_112", "ms1mv3_112", "lfw_112"])
def test_named_script_exists_and_writes_the_pack(data, made):
    message = datasets.missing("pack", {"folder": made})
    script = SCRIPTS / message.split("data_scripts/")[1].split("`")[0]
    assert script.is_file()
    assert made in registry.get(script.stem).makes


@pytest.mark.parametrize(
    ("made", "handed_out"),
    [("casia_webface_112", "faces_webface_112x112"), ("ms1mv3_112", "ms1m-retinaface-t1")],
)
def test_distributed_pack_is_used_unchanged(data, made, handed_out):
    """The data scripts only check it, so presets must find it where it was unpacked."""
    assert handed_out in datasets.missing("pack", {"folder": made})
    write_pack(data / handed_out)
    assert datasets.missing("pack", {"folder": made}) == ""
    assert len(datasets.load("pack", {"folder": made})) == 6
