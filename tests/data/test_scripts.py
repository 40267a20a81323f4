"""Run the data scripts on a miniature of each data set, in the layout of the original."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data import miniatures
from tests.data.fetching.mirror_server import serving
from tests.data.making import folder, write_pack

from cdmllab.data import bins, build_steps, fetching, registry, script_job, verification
from cdmllab.data.inspection import inspect
from cdmllab.data.lfw import people_left_out
from cdmllab.data.packs import Pack
from cdmllab.data.sets import without
from cdmllab.errors import DataError
from cdmllab.export import convert

SCRIPTS = Path(__file__).parents[2] / "data_scripts"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
MAKES = {
    "lfw": ["lfw_112", "verification/lfw.bin"],
    "cfp": ["verification/cfp_ff.bin", "verification/cfp_fp.bin"],
    "agedb": ["verification/agedb_30.bin"],
    "calfw": ["verification/calfw.bin"],
    "cplfw": ["verification/cplfw.bin"],
    "ijbb": [],
    "ijbc": [],
    "vn_celeb": ["verification/vn_celeb.bin"],
    "casia_webface": ["casia_webface_112"],
    "ms1mv3": [],
    "omniglot": [],
    "att_faces": [],
    "dlib_resnet": [],
}


def run(name: str, *arguments: str) -> None:
    spec = importlib.util.spec_from_file_location(f"data_script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    script_job.main(module.__file__, module.make, list(arguments))


@pytest.fixture(autouse=True)
def no_onnx(monkeypatch):
    """Pretend that the extra for ONNX is not installed; the export is tested elsewhere."""
    monkeypatch.setitem(convert._NEEDED, "onnx", ("onnx_that_is_nowhere",))


@pytest.fixture(autouse=True)
def small_vn_celeb(monkeypatch):
    original = build_steps.gallery_bin
    monkeypatch.setattr(
        build_steps, "gallery_bin", lambda job, name, root: original(job, name, root, per_fold=30)
    )


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in root.rglob("*")
        if p.is_file()
    }


def test_every_script_is_tested():
    assert set(MAKES) == set(NAMES)
    for name in NAMES:
        assert set(MAKES[name]) <= set(registry.get(name).makes)


@pytest.mark.parametrize("name", NAMES)
def test_script_creates_its_files_once_and_they_are_sound(name, data, tmp_path, capsys):
    getattr(miniatures, name)(data)
    out = tmp_path / "out"
    run(name, "--to", str(out), "--other-counts")
    for output in MAKES[name]:
        assert inspect(out / output).problems == []
    first = tree(out) if out.exists() else {}
    run(name, "--to", str(out), "--other-counts")
    assert (tree(out) if out.exists() else {}) == first
    assert "creating" not in capsys.readouterr().out.split("Licence")[-1]


@pytest.mark.parametrize("name", NAMES)
def test_dry_run_reports_and_writes_nothing(name, data, tmp_path, capsys):
    getattr(miniatures, name)(data)
    before = tree(data)
    run(name, "--to", str(tmp_path / "out"), "--dry-run", "--other-counts")
    assert not (tmp_path / "out").exists()
    assert tree(data) == before
    printed = capsys.readouterr().out
    for output in MAKES[name]:
        assert re.search(rf"would create .*{re.escape(output)}", printed)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "omniglot"])
def test_missing_input_is_named_with_its_source(name, data, tmp_path, capsys):
    run(name, "--to", str(tmp_path / "out"), "--dry-run")
    assert "is missing" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        run(name, "--to", str(tmp_path / "out"))
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    data_set = registry.get(name)
    assert f"{data_set.title} comes from {data_set.plain_source}" in message
    assert ("by request" in message) == data_set.by_request
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_another_version_are_refused(name, data, tmp_path, capsys):
    getattr(miniatures, name)(data)
    with pytest.raises(SystemExit):
        run(name, "--to", str(tmp_path / "out"))
    assert re.search(r"--other-counts accepts it|bytes, expected", capsys.readouterr().err)


def test_degenerate_landmarks_are_named_with_their_image(data, tmp_path, capsys):
    miniatures.calfw(data)
    marks = sorted((data / "calfw/CA_landmarks").glob("*.txt"))[2]
    marks.write_text("60 60\n" * 5)
    with pytest.raises(SystemExit):
        run("calfw", "--to", str(tmp_path / "out"), "--other-counts")
    file = data / "calfw/images" / (marks.name.removesuffix("_5loc_attri.txt") + ".jpg")
    assert f"{file}: the landmarks all coincide" in capsys.readouterr().err


def test_omniglot_is_downloaded_from_its_mirror_and_counted(data, tmp_path, capsys, monkeypatch):
    miniatures.omniglot(tmp_path)
    file = tmp_path / "omniglot-py/images_background_small1.zip"
    with serving() as mirror:
        mirror.files["/small1.zip"] = file.read_bytes()
        home = fetching.Mirror(url=f"{mirror.url}/small1.zip")
        remote = fetching.RemoteFile(path=f"omniglot-py/{file.name}", mirrors=(home,))
        data_set = registry.get("omniglot").model_copy(update={"files": (remote,)})
        monkeypatch.setattr(registry, "get", lambda name: data_set)
        run("omniglot", "--to", str(data), "--other-counts", "--dry-run")
        assert mirror.asked == []
        run("omniglot", "--to", str(data), "--other-counts")
    assert (data / "omniglot-py/images_background_small1.zip").read_bytes() == file.read_bytes()
    assert "images_background_small1: " in capsys.readouterr().out


def test_omniglot_is_counted_in_the_output_folder(data, tmp_path, capsys):
    miniatures.omniglot(tmp_path / "out")
    run("omniglot", "--to", str(tmp_path / "out"), "--other-counts")
    assert "images_background_small1: 5 characters, 20 drawings" in capsys.readouterr().out


def test_lfw_pack_lists_who_must_not_be_trained_on(data, tmp_path):
    miniatures.lfw(data)
    run("lfw", "--to", str(tmp_path / "out"), "--other-counts")
    pack = Pack(tmp_path / "out/lfw_112")
    assert (len(pack), pack.num_identities) == (60, 20)
    assert people_left_out(pack.path.parent, 3).tolist() == [6, 7]
    part = without(pack, people_left_out(pack.path.parent, 0, 9))
    assert part.num_identities == 16
    assert part.read([0]).shape == (1, 112, 112, 3)
    with pytest.raises(DataError, match=r"does not list the people of the folds \(10,\)"):
        people_left_out(pack.path.parent, 10)


@pytest.mark.parametrize(
    ("archive", "inside"),
    [("lfw.tgz", "lfw"), ("lfw-funneled.tgz", "lfw_funneled"), ("lfw-deepfunneled.tgz", "lfw")],
)
def test_colour_archives_of_lfw_are_accepted(data, tmp_path, archive, inside):
    miniatures.lfw(data, archive, inside, "RGB")
    run("lfw", "--to", str(tmp_path / "out"), "--other-counts")
    image = bins.read(tmp_path / "out/verification/lfw.bin").image(0)
    assert np.ptp(image.astype(int), axis=2).max() > 50


def test_created_bins_are_found_by_name(data):
    miniatures.calfw(data)
    run("calfw", "--other-counts")
    calfw = verification.load("calfw")
    assert calfw.images.shape == (40, 112, 112, 3)
    assert calfw.pairs.same.tolist() == [True, False] * 10


def test_landmarks_of_calfw_align_its_faces(data, tmp_path, capsys):
    miniatures.calfw(data)
    run("calfw", "--to", str(tmp_path / "a"), "--other-counts")
    assert "not aligned" not in capsys.readouterr().out
    for file in (data / "calfw/CA_landmarks").iterdir():
        file.unlink()
    (data / "calfw/CA_landmarks").rmdir()
    run("calfw", "--to", str(tmp_path / "b"), "--other-counts")
    assert "images are cropped to their central square, not aligned" in capsys.readouterr().out
    aligned, cut = (
        bins.read(tmp_path / f"{x}/verification/calfw.bin").image(0).astype(int) for x in "ab"
    )
    assert np.abs(aligned - cut).mean() > 5


def test_gallery_and_probes_of_vn_celeb_are_disjoint(data, tmp_path):
    miniatures.vn_celeb(data)
    run("vn_celeb", "--to", str(tmp_path / "out"), "--other-counts")
    images = bins.read(tmp_path / "out/verification/vn_celeb.bin").images
    assert len(images) == 1200
    assert not set(images[0::2]) & set(images[1::2])


def test_damaged_published_pack_is_reported(data, tmp_path, capsys):
    miniatures.ms1mv3(data)
    rec = data / "ms1m-retinaface-t1/train.rec"
    rec.write_bytes(rec.read_bytes()[:-100])
    with pytest.raises(SystemExit):
        run("ms1mv3", "--other-counts")
    assert "train.rec" in capsys.readouterr().err


def test_incomplete_download_is_reported(data, capsys):
    miniatures.lfw(data)
    with pytest.raises(SystemExit):
        run("lfw")
    assert "expected 96,817,782: the download is incomplete" in capsys.readouterr().err


def test_archive_that_leads_outside_is_refused(data, tmp_path, capsys):
    import zipfile

    (data / "cfp").mkdir()
    with zipfile.ZipFile(data / "cfp/cfp-dataset.zip", "w") as z:
        z.writestr("../../evil.txt", "x")
    with pytest.raises(SystemExit):
        run("cfp", "--to", str(tmp_path / "deep/out"), "--other-counts")
    assert "leads outside" in capsys.readouterr().err
    assert not list(tmp_path.rglob("evil.txt"))


def test_stopped_script_leaves_nothing_unfinished_and_resumes(data, tmp_path, monkeypatch, capsys):
    miniatures.agedb(data)
    with monkeypatch.context() as patched:
        patched.setattr(
            build_steps, "encode_jpeg", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(SystemExit) as stopped:
            run("agedb", "--to", str(tmp_path / "out"), "--other-counts")
    assert stopped.value.code == 130
    assert "stopped" in capsys.readouterr().err
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    run("agedb", "--to", str(tmp_path / "out"), "--other-counts")
    assert len(bins.read(tmp_path / "out/verification/agedb_30.bin").same) == 20


@pytest.mark.parametrize("nested", [True, False])
def test_pack_in_an_archive_is_unpacked_once(data, tmp_path, capsys, nested):
    import zipfile

    source = write_pack(tmp_path / "made", size=112)
    with zipfile.ZipFile(data / "ms1m-retinaface-t1.zip", "w") as z:
        for file in source.iterdir():
            z.write(file, f"ms1m-retinaface-t1/{file.name}" if nested else file.name)
    for expected in (True, False):
        run("ms1mv3", "--to", str(tmp_path / "out"), "--other-counts")
        out = capsys.readouterr().out
        assert ("unpacking" in out) == expected
        assert "ms1mv3_112: 6 images, 3 identities" in out


def test_folders_in_an_archive_become_a_pack(data, tmp_path):
    import zipfile

    source = folder(tmp_path / "made", (3, 2), size=112)
    with zipfile.ZipFile(data / "CASIA-WebFace.zip", "w") as z:
        for file in source.rglob("*.jpg"):
            z.write(file, f"CASIA-WebFace/{file.relative_to(source)}")
    run("casia_webface", "--to", str(tmp_path / "out"), "--other-counts")
    packed = Pack(tmp_path / "out/casia_webface_112")
    assert packed.labels.tolist() == [0, 0, 0, 1, 1]
    assert (packed.path.parent / "identities.txt").read_text() == "p0\np1\n"


def test_files_left_out_by_a_script_are_reported(data, tmp_path, capsys):
    miniatures.casia_webface(data)
    source = data / "CASIA-WebFace"
    (source / "p0/@eaDir").mkdir()
    (source / "p0/@eaDir/0.jpg").write_bytes((source / "p0/0.jpg").read_bytes())
    (source / "p1/a.heic").touch()
    run("casia_webface", "--to", str(tmp_path / "out"), "--other-counts")
    out = capsys.readouterr().out
    assert "left out 1 (p0/@eaDir/): ignored (@eaDir)\n" in out
    assert "left out 1 (p1/a.heic): .heic images are not read\n" in out
    assert "casia_webface_112: 9 images, 3 identities" in out


@pytest.mark.parametrize("size", [112, 120])
def test_sideways_images_are_upright_in_a_bin(data, tmp_path, size):
    miniatures.calfw(data)
    for file in (data / "calfw/CA_landmarks").iterdir():
        file.unlink()
    (data / "calfw/CA_landmarks").rmdir()
    exif = Image.Exif()
    exif[0x0112] = 8  # the right side as stored is the top as shown
    upright = np.zeros((size, size, 3), np.uint8)
    upright[: size // 2] = 240
    for file in (data / "calfw/images").iterdir():
        Image.fromarray(np.rot90(upright, -1)).save(file, exif=exif)
    run("calfw", "--to", str(tmp_path / "out"), "--other-counts")
    pixels = bins.read(tmp_path / "out/verification/calfw.bin").image(0)
    assert pixels[:50].min() > 200
    assert pixels[-50:].max() < 40
