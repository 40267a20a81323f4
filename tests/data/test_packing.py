import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from making import folder, jpeg, pixels
from PIL import Image
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data import packing
from cdmllab.data.align import TEMPLATE_112
from cdmllab.data.decode import decode
from cdmllab.data.inspection import inspect
from cdmllab.data.packing import Settings, pack
from cdmllab.data.packs import Pack
from cdmllab.errors import DataError
from waiting import until

SMALL = Settings(size=16)
FILES = ("train.rec", "train.idx", "property", "train.crc", "identities.txt")


def contents(root):
    return {name: (root / name).read_bytes() for name in FILES}


def test_pack_holds_the_pictures_of_the_folders_in_order(tmp_path):
    source = folder(tmp_path / "src")
    report = pack(source, tmp_path / "dst", SMALL)
    packed = Pack(tmp_path / "dst")
    assert (report.pictures, report.identities, report.skipped) == (9, 3, {})
    assert packed.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert bytes(packed.image(4)) == (source / "p1/1.jpg").read_bytes()
    assert (tmp_path / "dst/identities.txt").read_text() == "p0\np1\np2\n"
    assert (tmp_path / "dst/property").read_text() == "3,16,16\n"
    assert inspect(tmp_path / "dst").problems == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "src"]


def test_workers_change_nothing(tmp_path):
    source = folder(tmp_path / "src", (5, 40, 3), size=20)
    pack(source, tmp_path / "one", SMALL)
    pack(source, tmp_path / "many", SMALL, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_other_sizes_are_cut_to_the_middle_and_resized(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    wide = np.concatenate([np.zeros((20, 10, 3)), pixels(1, 20), np.zeros((20, 10, 3))], 1).astype(np.uint8)
    Image.fromarray(wide).save(tmp_path / "src/a/1.png")
    pack(tmp_path / "src", tmp_path / "dst", Settings(size=20, quality=100))
    assert np.abs(Pack(tmp_path / "dst").read([0])[0].astype(int) - pixels(1, 20)).max() < 12


def test_landmarks_align_and_their_absence_is_a_reason(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    for name in ("1", "2"):
        Image.fromarray(pixels(3, 150)).save(tmp_path / f"src/a/{name}.png")
    moved = (TEMPLATE_112 + np.array([20.0, 10.0])).reshape(-1)
    (tmp_path / "marks.txt").write_text("a/1.png " + " ".join(f"{v:.4f}" for v in moved) + "\n")
    report = pack(tmp_path / "src", tmp_path / "dst", Settings(quality=100, landmarks=tmp_path / "marks.txt"))
    assert report.skipped == {"a/2.png": "there are no landmarks for it"}
    wanted = pixels(3, 150)[10:122, 20:132]
    assert np.abs(Pack(tmp_path / "dst").read([0])[0].astype(int) - wanted).max() < 12


def test_bad_pictures_are_skipped_with_the_reason_and_leave_no_gap(tmp_path):
    source = folder(tmp_path / "src", (2, 2, 2))
    (source / "p1/0.jpg").write_bytes(b"not a picture")
    (source / "p1/1.jpg").write_bytes(jpeg(1)[:200])
    Image.fromarray(pixels(0, 16)[:1, :1]).save(source / "p0/2.png")
    (source / "p0/3.jpg").touch()
    report = pack(source, tmp_path / "dst", SMALL)
    assert sorted(report.skipped) == ["p0/2.png", "p0/3.jpg", "p1/0.jpg", "p1/1.jpg"]
    assert "1 x 1 pixels" in report.skipped["p0/2.png"]
    assert "empty" in report.skipped["p0/3.jpg"]
    assert (report.pictures, report.identities) == (4, 2)
    assert Pack(tmp_path / "dst").labels.tolist() == [0, 0, 1, 1]
    assert json.loads((tmp_path / "dst/report.json").read_text())["skipped"] == report.skipped


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_become_rgb(tmp_path, mode):
    (tmp_path / "src/a").mkdir(parents=True)
    (tmp_path / "src/a/1.jpg").write_bytes(jpeg(1, mode=mode))
    pack(tmp_path / "src", tmp_path / "dst", Settings(size=16, quality=100))
    wanted = np.asarray(Image.open(tmp_path / "src/a/1.jpg").convert("RGB")).astype(int)
    assert np.abs(Pack(tmp_path / "dst").read([0])[0] - wanted).max() <= 8


class StopHere(Exception):  # noqa: N818  (no error, a stop)
    pass


@pytest.mark.parametrize("at", [1, 4, 9])
def test_stopped_packing_goes_on_to_the_same_pack(tmp_path, at):
    source = folder(tmp_path / "src")
    (source / "p0/1.jpg").write_bytes(b"no picture")
    pack(source, tmp_path / "whole", SMALL)

    def stop(done: int, total: int) -> None:
        if done == at:
            raise StopHere

    with pytest.raises(StopHere):
        pack(source, tmp_path / "dst", SMALL, progress=stop)
    assert not (tmp_path / "dst").exists()
    report = pack(source, tmp_path / "dst", SMALL)
    assert report.resumed == at
    assert list(report.skipped) == ["p0/1.jpg"]
    assert contents(tmp_path / "dst") == contents(tmp_path / "whole")


def test_half_a_record_and_half_a_line_after_a_kill_are_cut_off(tmp_path):
    source = folder(tmp_path / "src")
    pack(source, tmp_path / "whole", SMALL)
    with pytest.raises(StopHere):
        pack(source, tmp_path / "dst", SMALL, progress=lambda done, total: (_ for _ in ()).throw(StopHere))
    growing = tmp_path / "dst.partial"
    with (growing / "train.rec").open("ab") as file:
        file.write(b"\x0a\x23\xd7\xce half a record")
    with (growing / "journal.jsonl").open("a") as file:
        file.write('{"file": "p0/1.j')
    assert pack(source, tmp_path / "dst", SMALL).resumed == 1
    assert contents(tmp_path / "dst") == contents(tmp_path / "whole")


def test_changed_source_or_settings_start_anew(tmp_path):
    source = folder(tmp_path / "src")
    for change in (lambda: Settings(size=8), lambda: (source / "p0/9.jpg").write_bytes(jpeg(77)) and SMALL):
        with pytest.raises(StopHere):
            pack(source, tmp_path / "dst", SMALL, progress=lambda done, total: (_ for _ in ()).throw(StopHere))
        assert pack(source, tmp_path / "dst", change()).resumed == 0


def test_killed_command_goes_on(tmp_path):
    source = folder(tmp_path / "src", (250, 250), size=24)
    command = [sys.executable, "-m", "cdmllab.cli", "pack", str(source), str(tmp_path / "dst"), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = tmp_path / "dst.partial/journal.jsonl"
    until(lambda: (journal.is_file() and journal.stat().st_size > 2000) or process.poll() is not None, every_s=0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (tmp_path / "dst").exists():
        pytest.skip("the machine packed everything before it could be killed")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "of them done before" in done.stdout
    assert inspect(tmp_path / "dst").problems == []
    assert len(Pack(tmp_path / "dst")) == 500


def test_full_disk_leaves_the_old_pack(tmp_path, monkeypatch):
    source = folder(tmp_path / "src")
    pack(source, tmp_path / "dst", SMALL)
    before = contents(tmp_path / "dst")
    Image.fromarray(pixels(500)).save(source / "p0/8.jpg")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "train.rec")

    with monkeypatch.context() as patched:
        patched.setattr("cdmllab.data.recordio.RecordWriter.write", full)
        result = CliRunner().invoke(app, ["pack", str(source), str(tmp_path / "dst"), "--size", "16"])
    assert result.exit_code == 1
    assert result.stderr == "cdmllab: No space left on device: train.rec\n"
    assert contents(tmp_path / "dst") == before
    assert pack(source, tmp_path / "dst", SMALL).pictures == 10
    assert not (tmp_path / "dst.old").exists()


def test_target_that_is_no_pack_is_not_touched(tmp_path):
    source = folder(tmp_path / "src")
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is no pack: it is not replaced"):
        pack(source, tmp_path / "dst", SMALL)
    assert (tmp_path / "dst/letter.txt").read_text() == "dear"


def test_nothing_to_pack_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        pack(tmp_path / "none", tmp_path / "dst")
    (tmp_path / "src/a").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no folders of pictures"):
        pack(tmp_path / "src", tmp_path / "dst")
    (tmp_path / "src/a/1.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"none of the 1 pictures can be packed; a/1\.jpg"):
        pack(tmp_path / "src", tmp_path / "dst")


def test_commands_pack_and_inspect(tmp_path):
    source = folder(tmp_path / "src")
    (source / "p0/0.jpg").write_bytes(b"x")
    run = CliRunner().invoke(app, ["pack", str(source), str(tmp_path / "dst"), "--size", "16", "--workers", "0"])
    assert run.exit_code == 0, run.output
    assert "8 pictures of 3 identities" in run.stdout
    assert "skipped p0/0.jpg" in run.stderr
    good = CliRunner().invoke(app, ["inspect", str(tmp_path / "dst")])
    assert good.exit_code == 0
    assert "pictures: 8" in good.stdout
    assert "checksums: checked" in good.stdout
    data = bytearray((tmp_path / "dst/train.rec").read_bytes())
    data[200] ^= 255
    (tmp_path / "dst/train.rec").write_bytes(data)
    bad = CliRunner().invoke(app, ["inspect", str(tmp_path / "dst")])
    assert bad.exit_code == 1
    assert "wrong: record 1 does not have the checksum" in bad.stderr


def test_kept_bytes_are_kept_and_reencoding_is_told(tmp_path):
    source = folder(tmp_path / "src", (1,))
    pack(source, tmp_path / "kept", SMALL)
    pack(source, tmp_path / "new", Settings(size=16, quality=50, keep_bytes=False))
    original = (source / "p0/0.jpg").read_bytes()
    assert bytes(Pack(tmp_path / "kept").image(0)) == original
    assert len(Pack(tmp_path / "new").image(0)) < len(original)
    assert decode(Pack(tmp_path / "new").image(0), "").shape == (16, 16, 3)


@pytest.mark.parametrize("target_stands", [True, False])
def test_a_pack_whose_replacing_was_stopped_is_replaced(tmp_path, target_stands):
    """Stopped while the old pack is removed, or between the two renamings."""
    source = folder(tmp_path / "src")
    pack(source, tmp_path / "wanted", SMALL)
    (tmp_path / "dst.old").mkdir()
    (tmp_path / "dst.old/train.rec").touch()
    if target_stands:
        pack(folder(tmp_path / "other", (1,)), tmp_path / "dst", SMALL)
    pack(source, tmp_path / "dst", SMALL)
    assert contents(tmp_path / "dst") == contents(tmp_path / "wanted")
    assert not (tmp_path / "dst.old").exists()


def test_a_pack_that_cannot_take_its_place_is_not_made_again(tmp_path, monkeypatch):
    source = folder(tmp_path / "src")

    def refuse(new, target):
        raise OSError(errno.EACCES, "no", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(packing, "replace_folder", refuse)
        with pytest.raises(OSError, match="no"):
            pack(source, tmp_path / "dst", SMALL)
    assert pack(source, tmp_path / "dst", SMALL).resumed == 9
    assert sorted(path.name for path in (tmp_path / "dst").iterdir()) == sorted([*FILES, packing.REPORT])


def test_replace_folder_puts_the_old_one_back_when_the_new_cannot_go_there(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/kept").touch()
    with pytest.raises(OSError, match="missing"):
        packing.replace_folder(tmp_path / "missing", tmp_path / "old")
    assert (tmp_path / "old/kept").exists()
