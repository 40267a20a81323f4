"""Full and read-only disks: one sentence, nothing half-written, and work resumes with more room."""

from pathlib import Path

import pytest
import yaml
from tests.book.build.tiny_book import write_book
from tests.faults.kills import RECIPE, Building, Packing, Training

from cdmllab import runs
from cdmllab.training import checkpoint

RELEASED = Path(__file__).parents[2] / "results/models/lab_small.safetensors"
FULL, READ_ONLY = "No space left on device", "Read-only file system"


def files(folder):
    """Every file below a folder, with its bytes, except locks."""
    paths = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and ".lock" not in path.name
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "epochs": 3}))
    return path


def test_training_on_a_full_disk_keeps_its_checkpoints_and_resumes(
    disk, error_message, succeed, recipe, monkeypatch
):
    monkeypatch.setenv("CDMLLAB_RUNS", str(disk.folder))
    disk.resize(200)
    assert FULL in error_message("train", recipe)
    (run,) = runs.Run.list(disk.folder)
    assert all(checkpoint.damage(kept) == "" for kept in checkpoint.steps(run.folder))
    disk.resize(64 << 10)
    succeed("train", "--resume", run.folder)
    assert run.status == "finished"


def test_packing_on_a_full_disk_resumes(disk, error_message, succeed):
    job = Packing(disk.folder)
    disk.spare(900)
    assert FULL in error_message("pack", job.source, job.target)
    assert not job.target.exists()
    disk.resize(64 << 10)
    assert "of them done before" in succeed("pack", job.source, job.target)
    assert "all well" in succeed("inspect", job.target)


def test_building_the_book_on_a_full_disk_keeps_the_old_site(disk, error_message, monkeypatch):
    job = Building(disk.folder / "book")
    job.work()
    before = job.result()
    job.layout.edit("book/index.md", "# Start", "# Start again")
    job.layout.edit("src/cdmllab/alpha.py", "3", "4")
    disk.spare(40)
    monkeypatch.chdir(job.layout.root)
    assert FULL in error_message("book", "build")
    assert (job.layout.html / "index.html").is_file()
    disk.resize(64 << 10)
    job.work()
    assert job.result() != before


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_converting_weights_on_a_full_disk_leaves_no_file(disk, error_message, suffix):
    disk.resize(100)
    assert FULL in error_message("weights", "convert", RELEASED, disk.folder / f"small{suffix}")
    assert files(disk.folder) == {}


def test_exporting_on_a_full_disk_leaves_no_file(disk, error_message):
    disk.resize(100)
    assert FULL in error_message("export", RELEASED, "--output", disk.folder / "small.onnx")
    assert files(disk.folder) == {}


def test_training_into_a_read_only_folder(disk, error_message, recipe, monkeypatch):
    monkeypatch.setenv("CDMLLAB_RUNS", str(disk.folder / "runs"))
    disk.protect()
    assert READ_ONLY in error_message("train", recipe)


def test_resuming_in_a_read_only_folder_changes_nothing(disk, error_message):
    Training(disk.folder / "runs").work()
    (run,) = runs.Run.list(disk.folder / "runs")
    record = run.record
    run._write({**record, "status": "running"})
    before = files(disk.folder)
    disk.protect()
    assert READ_ONLY in error_message("train", "--resume", run.folder)
    assert files(disk.folder) == before


def test_packing_into_a_read_only_folder(disk, error_message):
    job = Packing(disk.folder)
    disk.protect()
    assert READ_ONLY in error_message("pack", job.source, job.target)


def test_building_a_read_only_book(disk, invoke, monkeypatch):
    book = write_book(disk.folder / "book")
    disk.protect()
    monkeypatch.chdir(book.root)
    message = invoke(1, "book", "build").stderr
    assert message.startswith("cdmllab: ")
    assert READ_ONLY in message


@pytest.mark.parametrize(
    ("command", "target"),
    [
        (("weights", "convert", RELEASED), "small.pth"),
        (("export", RELEASED, "--output"), "small.onnx"),
    ],
    ids=["weights", "export"],
)
def test_writing_networks_into_a_read_only_folder(disk, error_message, command, target):
    disk.protect()
    assert READ_ONLY in error_message(*command, disk.folder / target)
