import errno
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.data.making import folder, jpeg, pixels
from tests.waiting import until
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data import packing, walk
from cdmllab.data.align import TEMPLATE_112
from cdmllab.data.decode import decode
from cdmllab.data.inspection import inspect
from cdmllab.data.packing import Settings, pack
from cdmllab.data.packs import Pack
from cdmllab.errors import DataError

SMALL = Settings(size=16)
FILES = ("train.rec", "train.idx", "property", "train.crc", "identities.txt")


def contents(root):
    return {name: (root / name).read_bytes() for name in FILES}


def test_pack_contains_the_images_of_the_folders_in_order(tmp_path):
    source = folder(tmp_path / "src")
    report = pack(source, tmp_path / "dst", SMALL)
    packed = Pack(tmp_path / "dst")
    assert (report.images, report.identities, report.skipped) == (9, 3, {})
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


def test_other_sizes_are_cropped_to_the_centre_and_resized(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    wide = np.concatenate([np.zeros((20, 10, 3)), pixels(1, 20), np.zeros((20, 10, 3))], 1).astype(
        np.uint8
    )
    Image.fromarray(wide).save(tmp_path / "src/a/1.png")
    pack(tmp_path / "src", tmp_path / "dst", Settings(size=20, quality=100))
    assert np.abs(Pack(tmp_path / "dst").read([0])[0].astype(int) - pixels(1, 20)).max() < 12


def test_landmarks_align_and_images_without_them_are_skipped(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    for name in ("1", "2"):
        Image.fromarray(pixels(3, 150)).save(tmp_path / f"src/a/{name}.png")
    moved = (TEMPLATE_112 + np.array([20.0, 10.0])).reshape(-1)
    (tmp_path / "marks.txt").write_text("a/1.png " + " ".join(f"{v:.4f}" for v in moved) + "\n")
    report = pack(
        tmp_path / "src", tmp_path / "dst", Settings(quality=100, landmarks=tmp_path / "marks.txt")
    )
    assert report.skipped == {"a/2.png": "it has no landmarks"}
    expected = pixels(3, 150)[10:122, 20:132]
    assert np.abs(Pack(tmp_path / "dst").read([0])[0].astype(int) - expected).max() < 12


def test_bad_images_are_skipped_with_the_reason_and_leave_no_gap(tmp_path):
    source = folder(tmp_path / "src", (2, 2, 2))
    (source / "p1/0.jpg").write_bytes(b"not an image")
    (source / "p1/1.jpg").write_bytes(jpeg(1)[:200])
    Image.fromarray(pixels(0, 16)[:1, :1]).save(source / "p0/2.png")
    (source / "p0/3.jpg").touch()
    report = pack(source, tmp_path / "dst", SMALL)
    assert sorted(report.skipped) == ["p0/2.png", "p0/3.jpg", "p1/0.jpg", "p1/1.jpg"]
    assert "1 x 1 pixels" in report.skipped["p0/2.png"]
    assert "empty" in report.skipped["p0/3.jpg"]
    assert (report.images, report.identities) == (4, 2)
    assert Pack(tmp_path / "dst").labels.tolist() == [0, 0, 1, 1]
    assert json.loads((tmp_path / "dst/report.json").read_text())["skipped"] == report.skipped


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_become_rgb(tmp_path, mode):
    (tmp_path / "src/a").mkdir(parents=True)
    (tmp_path / "src/a/1.jpg").write_bytes(jpeg(1, mode=mode))
    pack(tmp_path / "src", tmp_path / "dst", Settings(size=16, quality=100))
    expected = np.asarray(Image.open(tmp_path / "src/a/1.jpg").convert("RGB")).astype(int)
    assert np.abs(Pack(tmp_path / "dst").read([0])[0] - expected).max() <= 8


class StopHere(Exception):  # noqa: N818  (no error, a stop)
    pass


@pytest.mark.parametrize("at", [1, 4, 9])
def test_stopped_packing_resumes_to_the_same_pack(tmp_path, at):
    source = folder(tmp_path / "src")
    (source / "p0/1.jpg").write_bytes(b"no image")
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


def test_incomplete_record_and_line_after_a_kill_are_removed(tmp_path):
    source = folder(tmp_path / "src")
    pack(source, tmp_path / "whole", SMALL)
    with pytest.raises(StopHere):
        pack(
            source,
            tmp_path / "dst",
            SMALL,
            progress=lambda done, total: (_ for _ in ()).throw(StopHere),
        )
    growing = tmp_path / "dst.partial"
    with (growing / "train.rec").open("ab") as file:
        file.write(b"\x0a\x23\xd7\xce half a record")
    with (growing / "journal.jsonl").open("a") as file:
        file.write('{"file": "p0/1.j')
    assert pack(source, tmp_path / "dst", SMALL).resumed == 1
    assert contents(tmp_path / "dst") == contents(tmp_path / "whole")


def test_changed_source_or_settings_restart_the_packing(tmp_path):
    source = folder(tmp_path / "src")
    for change in (
        lambda: Settings(size=8),
        lambda: (source / "p0/9.jpg").write_bytes(jpeg(77)) and SMALL,
    ):
        with pytest.raises(StopHere):
            pack(
                source,
                tmp_path / "dst",
                SMALL,
                progress=lambda done, total: (_ for _ in ()).throw(StopHere),
            )
        assert pack(source, tmp_path / "dst", change()).resumed == 0


def test_killed_command_resumes(tmp_path):
    source = folder(tmp_path / "src", (250, 250), size=24)
    command = [
        sys.executable,
        "-m",
        "cdmllab",
        "pack",
        str(source),
        str(tmp_path / "dst"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = tmp_path / "dst.partial/journal.jsonl"
    until(
        lambda: (journal.is_file() and journal.stat().st_size > 2000) or process.poll() is not None,
        every_s=0.002,
    )
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
        result = CliRunner().invoke(
            app, ["pack", str(source), str(tmp_path / "dst"), "--size", "16"]
        )
    assert result.exit_code == 1
    assert result.stderr == "cdmllab: No space left on device: train.rec\n"
    assert contents(tmp_path / "dst") == before
    assert pack(source, tmp_path / "dst", SMALL).images == 10
    assert not (tmp_path / "dst.old").exists()


def test_target_that_is_not_a_pack_is_not_touched(tmp_path):
    source = folder(tmp_path / "src")
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is not a pack, so it is not replaced"):
        pack(source, tmp_path / "dst", SMALL)
    assert (tmp_path / "dst/letter.txt").read_text() == "dear"


def test_nothing_to_pack_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        pack(tmp_path / "none", tmp_path / "dst")
    (tmp_path / "src/a").mkdir(parents=True)
    with pytest.raises(DataError, match="contains no folders of images"):
        pack(tmp_path / "src", tmp_path / "dst")
    (tmp_path / "src/a/1.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"none of the 1 images can be packed; a/1\.jpg"):
        pack(tmp_path / "src", tmp_path / "dst")


def test_commands_pack_and_inspect(tmp_path):
    source = folder(tmp_path / "src")
    (source / "p0/0.jpg").write_bytes(b"x")
    run = CliRunner().invoke(
        app, ["pack", str(source), str(tmp_path / "dst"), "--size", "16", "--workers", "0"]
    )
    assert run.exit_code == 0, run.output
    assert "8 images of 3 identities" in run.stdout
    assert "skipped p0/0.jpg" in run.stderr
    good = CliRunner().invoke(app, ["inspect", str(tmp_path / "dst")])
    assert good.exit_code == 0
    assert "images: 8" in good.stdout
    assert "checksums: checked" in good.stdout
    data = bytearray((tmp_path / "dst/train.rec").read_bytes())
    data[200] ^= 255
    (tmp_path / "dst/train.rec").write_bytes(data)
    bad = CliRunner().invoke(app, ["inspect", str(tmp_path / "dst")])
    assert bad.exit_code == 1
    assert "wrong: record 1 does not have the checksum" in bad.stderr


def test_kept_bytes_are_kept_and_reencoding_is_reported(tmp_path):
    source = folder(tmp_path / "src", (1,))
    pack(source, tmp_path / "kept", SMALL)
    pack(source, tmp_path / "new", Settings(size=16, quality=50, keep_bytes=False))
    original = (source / "p0/0.jpg").read_bytes()
    assert bytes(Pack(tmp_path / "kept").image(0)) == original
    assert len(Pack(tmp_path / "new").image(0)) < len(original)
    assert decode(Pack(tmp_path / "new").image(0), "").shape == (16, 16, 3)


@pytest.mark.parametrize("target_stands", [True, False])
def test_pack_whose_replacement_was_stopped_is_replaced(tmp_path, target_stands):
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


def test_pack_that_cannot_be_moved_is_not_packed_again(tmp_path, monkeypatch):
    source = folder(tmp_path / "src")

    def refuse(new, target):
        raise OSError(errno.EACCES, "no", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(packing, "replace_folder", refuse)
        with pytest.raises(OSError, match="no"):
            pack(source, tmp_path / "dst", SMALL)
    assert pack(source, tmp_path / "dst", SMALL).resumed == 9
    assert sorted(path.name for path in (tmp_path / "dst").iterdir()) == sorted(
        [*FILES, packing.REPORT]
    )


def test_replace_folder_restores_the_old_one_if_the_new_one_cannot_be_moved(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/kept").touch()
    with pytest.raises(OSError, match="missing"):
        packing.replace_folder(tmp_path / "missing", tmp_path / "old")
    assert (tmp_path / "old/kept").exists()


def stored_sideways(value: int = 6, size: int = 16) -> bytes:
    """A colour JPEG of the right size: stored, its left half is black; upright, its upper half."""
    pixels_ = np.full((size, size, 3), 240, np.uint8)
    pixels_[:, : size // 2] = 0
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = value
    Image.fromarray(pixels_).save(stream, "JPEG", exif=exif, quality=95)
    return stream.getvalue()


@pytest.mark.parametrize("keep", [True, False])
def test_phone_images_are_packed_upright(tmp_path, keep):
    (tmp_path / "src/a").mkdir(parents=True)
    (tmp_path / "src/a/1.jpg").write_bytes(stored_sideways())
    pack(tmp_path / "src", tmp_path / "dst", SMALL._replace(keep_bytes=keep))
    packed = Pack(tmp_path / "dst")
    image = packed.read([0])[0]
    assert image[:6].max() < 30 < 210 < image[-6:].min()
    assert b"Exif" not in bytes(packed.image(0))  # so that every reader shows the same
    assert inspect(tmp_path / "dst").problems == []


def test_upright_bytes_are_kept_with_their_exif(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    (tmp_path / "src/a/1.jpg").write_bytes(stored_sideways(1))
    pack(tmp_path / "src", tmp_path / "dst", SMALL)
    assert bytes(Pack(tmp_path / "dst").image(0)) == stored_sideways(1)


def test_landmarks_are_of_the_upright_image(tmp_path):
    """Stored rotated; upright, the face is 20 px right of the template and 10 px below."""
    upright = pixels(3, 150)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "src/a").mkdir(parents=True)
    Image.fromarray(np.rot90(upright)).save(tmp_path / "src/a/1.png", exif=exif)
    moved = (TEMPLATE_112 + np.array([20.0, 10.0])).reshape(-1)
    (tmp_path / "marks.txt").write_text("a/1.png " + " ".join(f"{v:.4f}" for v in moved) + "\n")
    pack(
        tmp_path / "src", tmp_path / "dst", Settings(quality=100, landmarks=tmp_path / "marks.txt")
    )
    expected = upright[10:122, 20:132]
    assert np.abs(Pack(tmp_path / "dst").read([0])[0].astype(int) - expected).max() < 12


def test_ambiguous_landmarks_stop_the_packing(tmp_path):
    source = folder(tmp_path / "src", (2, 1), size=150)
    (tmp_path / "marks.txt").write_text(
        "0.jpg " + " ".join(str(v) for v in TEMPLATE_112.reshape(-1)) + "\n"
    )
    for few in (1, 2):  # also when the other has too few images to be packed
        settings = Settings(landmarks=tmp_path / "marks.txt", min_images=few)
        with pytest.raises(
            DataError, match=r"marks\.txt: '0\.jpg' matches both p0/0\.jpg and p1/0\.jpg"
        ):
            pack(source, tmp_path / "dst", settings)


def test_deep_grey_images_are_not_packed_white(tmp_path):
    (tmp_path / "src/a").mkdir(parents=True)
    slope = np.tile(np.arange(16, dtype=np.uint16) * 4096, (16, 1))
    Image.fromarray(slope).save(tmp_path / "src/a/1.png")
    Image.fromarray(slope.astype(np.float32)).save(tmp_path / "src/a/2.tif")
    report = pack(tmp_path / "src", tmp_path / "dst", Settings(size=16, quality=100))
    assert (
        np.abs(Pack(tmp_path / "dst").read([0])[0][3, :, 0].astype(int) - slope[3] // 256).max()
        <= 4
    )
    assert "floating-point" in report.skipped["a/2.tif"]


def test_report_names_everything_that_was_not_read(tmp_path):
    source = folder(tmp_path / "src", (2, 1))
    (source / "p0/again").symlink_to(source)
    (source / "p0/Thumbs.db").touch()
    (source / "p1/a.heic").write_bytes(b"x")
    (source / "p1/old_0.jpg").write_bytes(jpeg(5))
    (source / "lost.jpg").write_bytes(jpeg(6))
    report = pack(source, tmp_path / "dst", SMALL._replace(ignore=("old_*",), min_images=2))
    assert (report.images, report.identities) == (2, 1)
    report = json.loads((tmp_path / "dst/report.json").read_text())
    assert report["left_out"] == {
        "lost.jpg": walk.LOOSE,
        "p0/Thumbs.db": "ignored (Thumbs.db)",
        "p0/again": walk.LINK,
        "p1/0.jpg": walk.FEW,
        "p1/a.heic": ".heic images are not read",
        "p1/old_0.jpg": "ignored (old_*)",
    }
    assert report["skipped"] == {}
    assert inspect(tmp_path / "dst").facts["when packed"] == "0 images skipped, 6 files left out"


def test_command_reports_what_was_left_out(tmp_path):
    source = folder(tmp_path / "src", (2, 1))
    for k in range(3):
        (source / f"p1/{k}.heic").write_bytes(b"x")
    (source / "p1/raw.png").write_bytes(b"x")
    command = [
        "pack",
        str(source),
        str(tmp_path / "dst"),
        "--size",
        "16",
        "--workers",
        "0",
        "--ignore",
        "raw.*",
    ]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    assert "left out 3 (p1/0.heic, ...): .heic images are not read\n" in run.stderr
    assert "left out 1 (p1/raw.png): ignored (raw.*)\n" in run.stderr
    assert "0 images skipped, 4 files and folders left out, see " in run.stderr


def strange_names(root):
    """People whose folders are named in latin-1, with a line break, and with a backslash."""
    for name in (b"M\xfcller", b"a\nb", b"a\\x0ab", "José".encode()):
        person = root / os.fsdecode(name)
        try:
            person.mkdir(parents=True)
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
        (person / os.fsdecode(b"\xe9.jpg")).write_bytes(jpeg(len(name)))
    return root


def test_names_in_invalid_utf8_are_packed_on_one_line_each(tmp_path):
    source = strange_names(tmp_path / "src")
    (tmp_path / "src/Jos\u00e9/bad.jpg").write_bytes(b"x")
    with pytest.raises(StopHere):
        pack(
            source,
            tmp_path / "dst",
            SMALL,
            progress=lambda done, total: (_ for _ in ()).throw(StopHere),
        )
    report = pack(source, tmp_path / "dst", SMALL)
    assert (report.resumed, report.images, report.identities) == (1, 4, 4)
    names = (tmp_path / "dst/identities.txt").read_text(encoding="utf-8").split("\n")
    assert sorted(names) == ["", "José", "M\\xfcller", "a\\\\x0ab", "a\\x0ab"]
    assert list(json.loads((tmp_path / "dst/report.json").read_text())["skipped"]) == [
        "José/bad.jpg"
    ]
    assert inspect(tmp_path / "dst").problems == []
    assert list(inspect(source).unread) == ["José/bad.jpg"]


def test_commands_print_names_in_invalid_utf8(tmp_path):
    source, target = strange_names(tmp_path / os.fsdecode(b"\xfc")), tmp_path / os.fsdecode(b"\xfd")
    (source / os.fsdecode(b"M\xfcller") / "bad.jpg").write_bytes(b"x")
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    for arguments, code, message in (
        (["pack", source, target, "--size", "16"], 0, r"\xfd: 4 images of 4 identities"),
        (["inspect", source], 1, r"\xfc: folder"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "cdmllab", *arguments], capture_output=True, env=environment
        )
        assert done.returncode == code, done.stderr
        assert message in done.stdout.decode()
        assert code == 0 or rb"M\xfcller/bad.jpg" in done.stderr


def test_unreadable_images_are_skipped_and_inspected_alike(tmp_path, monkeypatch):
    source = folder(tmp_path / "src", (2, 2))
    real = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith("p0/1.jpg"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    findings = inspect(source)
    assert findings.problems == ["p0/1.jpg: it cannot be read (Permission denied)"]
    assert findings.facts["decoded"] == "3 of 4"
    report = pack(source, tmp_path / "dst", SMALL)
    assert report.images == 3
    assert "Permission denied" in report.skipped["p0/1.jpg"]
