"""LFW in every form: archives, unpacked, from mirrors, and with the traces of macOS and Windows."""

import importlib.util
import io
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.data import miniatures
from tests.data.making import jpeg

from cdmllab.data import att_faces, lfw, omniglot, pair_lists, paths, registry, script_job
from cdmllab.data.archives import extract
from cdmllab.data.registry import RemoteFile
from cdmllab.data.script_job import Job
from cdmllab.data.walk import is_clutter
from cdmllab.errors import DataError
from cdmllab.training import datasets

SCRIPTS = Path(__file__).parents[2] / "data_scripts"
SIZE = (8, 8)


@pytest.fixture
def whole(data):
    """The miniature as its authors packed it; images and pairs as read from there."""
    miniatures.lfw(data, "lfw-deepfunneled.tgz", "lfw-deepfunneled", "RGB")
    faces = lfw.images(size=SIZE, colour="RGB")
    return faces, lfw.pairs(faces)


def same(one, other):
    (faces, pairs), (faces2, pairs2) = one, other
    assert faces2.names == faces.names
    assert np.array_equal(faces2.labels, faces.labels)
    assert np.array_equal(faces2.images, faces.images)
    for a, b in zip(pairs, pairs2, strict=True):
        assert np.array_equal(a, b)


def again(**options):
    faces = lfw.images(size=SIZE, colour="RGB", **options)
    return faces, lfw.pairs(faces)


def unpack(data, into):
    """The images only, unpacked; the archive is gone."""
    archive = data / "lfw/lfw-deepfunneled.tgz"
    extract(archive, data / "aside")
    archive.unlink()
    (data / "aside/lfw-deepfunneled").rename(into)


@pytest.mark.parametrize("name", [name for name in lfw.FOLDERS if name != "lfw"])
def test_unpacked_folder_equals_its_archive(data, whole, name):
    (data / name).parent.mkdir(exist_ok=True)
    unpack(data, data / name)
    assert lfw.archive() == data / name
    assert lfw.available()
    same(whole, again())


def test_people_may_be_in_the_lfw_folder_itself(data, whole):
    unpack(data, data / "people")
    for person in (data / "people").iterdir():
        person.rename(data / "lfw" / person.name)
    assert lfw.archive() == data / "lfw"
    same(whole, again())


def test_folder_with_only_pairs_is_not_lfw(data):
    (data / "lfw").mkdir()
    (data / "lfw/pairs.txt").write_text(miniatures.lfw_pairs())
    assert lfw.archive() is None
    assert not lfw.available()


def kaggle_pairs() -> str:
    """Kaggle's table: the rows of ``pairs.txt``, a header of four columns, Windows line endings."""
    rows = [line.replace("\t", ",") for line in miniatures.lfw_pairs().splitlines()[1:]]
    rows = [row if row.count(",") == 3 else f"{row}," for row in rows]
    return "".join(f"{row}\r\n" for row in ["name,imagenum1,imagenum2,", *rows])


def kaggle_zip(data, name):
    """As Kaggle packs it: the folder twice, and all tables at the top."""
    archive = data / "lfw/lfw-deepfunneled.tgz"
    with tarfile.open(archive) as tar, zipfile.ZipFile(data / "lfw" / name, "w") as z:
        for member in tar.getmembers():
            z.writestr(f"lfw-deepfunneled/{member.name}", tar.extractfile(member).read())
        z.writestr("pairs.csv", kaggle_pairs())
        z.writestr("people.csv", "name,images\r\nPerson_00,3\r\n")
    archive.unlink()
    (data / "lfw/pairs.txt").unlink()


@pytest.mark.parametrize("name", ["archive.zip", "lfw-dataset.zip"])
def test_kaggles_zip_is_sufficient(data, whole, name):
    kaggle_zip(data, name)
    assert lfw.pair_file() == data / "lfw" / name
    assert lfw.available()
    same(whole, again())
    assert datasets.missing("lfw", {}) == ""


def test_kaggles_zip_is_read_unpacked(data, whole):
    kaggle_zip(data, "archive.zip")
    extract(data / "lfw/archive.zip", data / "lfw")
    (data / "lfw/archive.zip").unlink()
    assert lfw.pair_file() == data / "lfw/pairs.csv"
    same(whole, again())


def test_mirror_with_numbered_folders_is_read(data, whole):
    """As on Hugging Face: ``train/images/000/Name_0001.jpg``, and a table with other columns."""
    unpack(data, data / "people")
    for k, file in enumerate(sorted((data / "people").rglob("*.jpg"))):
        target = data / f"lfw/train/images/{k % 3:03d}/{file.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    listed = pair_lists.lfw(data / "lfw/pairs.txt")
    rows = ["pair_id,fold_id,fold_position,is_same,image_a,image_b,image_a_path,image_b_path"]
    for k, (first, second, is_same, fold) in enumerate(zip(*listed.pairs, strict=True)):
        a, b = (listed.names[row].split("/")[1] for row in (first, second))
        rows.append(f"{k},{fold + 1},{k % 2},{int(is_same)},{a},{b},images/000/{a},images/001/{b}")
    (data / "lfw/pairs.txt").unlink()
    (data / "lfw/pairs.csv").write_text("\n".join(rows))
    same(whole, again())


def with_mac_files(path):
    """As macOS packs it: every file and folder has a twin ``._name`` that is not an image."""
    with tarfile.open(path) as tar:
        files = [(member.name, tar.extractfile(member).read()) for member in tar.getmembers()]
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files:
            folder, _, file = name.rpartition("/")
            for twin, data in (
                (f"./{folder}/._{file}", b"\0\5\x16\7"),
                (f"__MACOSX/{folder}/{file}", b"no image"),
                (f"./{name}", content),
            ):
                member = tarfile.TarInfo(twin)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_macos_files_in_an_archive_are_skipped(data, whole):
    with_mac_files(data / "lfw/lfw-deepfunneled.tgz")
    same(whole, again())


def test_macos_files_in_a_folder_are_skipped(data, whole):
    unpack(data, data / "lfw/lfw-deepfunneled")
    for file in list((data / "lfw/lfw-deepfunneled").rglob("*.jpg")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    (data / "lfw/lfw-deepfunneled/__MACOSX").mkdir()
    (data / "lfw/lfw-deepfunneled/__MACOSX/Person_00_0001.jpg").write_bytes(b"no image")
    same(whole, again())


@pytest.mark.parametrize("kind", ["omniglot", "att_faces"])
def test_other_archives_from_a_mac_are_read_too(data, tmp_path, kind):
    if kind == "omniglot":
        miniatures.omniglot(data)
        path, read = data / "omniglot-py/images_background_small1.zip", omniglot.load
    else:
        path, read = data / "att_faces.zip", lambda: att_faces.load((8, 8))
        gray = io.BytesIO()
        from PIL import Image

        Image.new("L", (92, 112), 7).save(gray, "PPM")
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("s1/1.pgm", gray.getvalue())
    before = read()
    with zipfile.ZipFile(path, "a") as z:
        for name in z.namelist():
            folder, _, file = name.rpartition("/")
            z.writestr(f"__MACOSX/{folder}/._{file}", b"\0\5\x16\7")
            z.writestr(f"{folder}/._{file}", b"\0\5\x16\7")
    after = read()
    assert np.array_equal(after.images, before.images)
    assert after.names == before.names


@pytest.mark.parametrize(
    ("name", "clutter"),
    [
        ("a/._b.jpg", True),
        ("__MACOSX/a/b.jpg", True),
        (".hidden/b.jpg", True),
        ("@eaDir/b.jpg", True),
        ("a/THUMBS.DB", True),
        ("a/b.c.jpg", False),
        ("a/_b.jpg", False),
    ],
)
def test_clutter_is_recognised_by_its_name(name, clutter):
    assert is_clutter(name) is clutter


def test_missing_image_does_not_shift_the_ones_after_it(data, whole):
    """Person_00 without its second image: pairs of the third must not become pairs of another."""
    unpack(data, data / "lfw/lfw")
    (data / "lfw/lfw/Person_00/Person_00_0002.jpg").unlink()
    text = (data / "lfw/pairs.txt").read_text()
    (data / "lfw/pairs.txt").write_text(
        text.replace("Person_00\t2\tPerson_01\t1", "Person_00\t3\tPerson_01\t1")
    )
    faces, pairs = again()
    assert faces.files[:3] == tuple(
        f"{name}/{name}_{number:04d}.jpg"
        for name, number in (("Person_00", 1), ("Person_00", 3), ("Person_01", 1))
    )
    assert (pairs.first[0], pairs.second[0], pairs.first[1], pairs.second[1]) == (0, 1, 1, 2)
    assert np.array_equal(faces.images[1], whole[0].images[2])
    (data / "lfw/pairs.txt").write_text(text)
    with pytest.raises(
        DataError, match=r"names Person_00/Person_00_0002\.jpg, which is not among the images"
    ):
        lfw.pairs(faces)


def test_two_versions_in_one_folder_are_refused(data, whole):
    unpack(data, data / "lfw/first")
    shutil.copytree(data / "lfw/first", data / "lfw/second")
    with pytest.raises(DataError, match=r"contains Person_\d\d_000\d\.jpg twice"):
        lfw.images(size=SIZE)


def test_image_with_another_name_is_named(data, whole):
    unpack(data, data / "lfw/lfw")
    (data / "lfw/lfw/Person_00/portrait.jpg").write_bytes(jpeg(1))
    with pytest.raises(
        DataError, match=r"Person_00/portrait\.jpg is not named as LFW's images are"
    ):
        lfw.images(size=SIZE)


# The lists.


def test_windows_line_endings_and_byte_order_mark_change_nothing(data, whole):
    text = (data / "lfw/pairs.txt").read_text()
    (data / "lfw/pairs.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    same(whole, again())


def test_text_with_windows_line_endings_passes_the_check(tmp_path, capsys):
    """The registry has the size and the digest with plain ends."""
    import hashlib

    content = miniatures.lfw_pairs().encode()
    digest = hashlib.sha256(content).hexdigest()
    known = RemoteFile(path="lfw/pairs.txt", sha256=digest, bytes=len(content))
    job = Job(registry.get("lfw").model_copy(update={"files": (known,)}), tmp_path)
    path = tmp_path / "lfw/pairs.txt"
    path.parent.mkdir()
    for ends in (b"\n", b"\r\n"):
        path.write_bytes(content.replace(b"\n", ends))
        job.check(path)
        assert "checked" in capsys.readouterr().out
    path.write_bytes(content.replace(b"1\t3", b"1\t2", 1))
    with pytest.raises(DataError, match="it is not the published file"):
        job.check(path)
    path.write_bytes(content[:-9])
    with pytest.raises(DataError, match="the download is incomplete"):
        job.check(path)


def named_pairs(listed):
    p = listed.pairs
    return [
        (listed.names[a], listed.names[b], bool(s), int(f))
        for a, b, s, f in zip(p.first, p.second, p.same, p.fold, strict=True)
    ]


def test_shuffled_table_still_gives_ten_folds(tmp_path):
    plain = tmp_path / "pairs.txt"
    plain.write_text(miniatures.lfw_pairs())
    header, *rows = kaggle_pairs().splitlines()
    random.Random(0).shuffle(rows)
    (tmp_path / "pairs.csv").write_text("\n".join([header, *rows]))
    shuffled = pair_lists.lfw(tmp_path / "pairs.csv")
    assert {pair[:3] for pair in named_pairs(shuffled)} == {
        pair[:3] for pair in named_pairs(pair_lists.lfw(plain))
    }
    for fold in range(10):
        assert shuffled.pairs.same[shuffled.pairs.fold == fold].tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,imagenum1,imagenum2,\nA,1,two,",
            r"row 2: expected `name,n,m,` or `name,n,name,m`, got \['A', '1', 'two'",
        ),
        ("name,imagenum1,imagenum2,\nA,1,2,\nA,1", r"row 3"),
        ("name,imagenum1,imagenum2,", "0 pairs do not fill 10 folds"),
        (
            "fold_id,is_same,image_a,image_b\n0,1,A_0001.jpg,A_0002.jpg",
            "row 2: expected a fold from 1",
        ),
        ("fold_id,is_same,image_a,image_b\n1,2,A_0001.jpg,A_0002.jpg", "row 2"),
        ("fold_id,is_same,image_a,image_b\n1,1,A.jpg,A_0002.jpg", "row 2"),
        ("fold_id,is_same,image_a,image_b\n1,1", "row 2"),
        ("fold_id,is_same,image_a,image_b", "contains no pairs"),
        ("fold_id,is_same,image_a,image_b\n2,1,A_0001.jpg,A_0002.jpg", "fold 1 of 2 has no pairs"),
        ("10\t0", "contains no pairs"),
        ("²\t1", "line 1: expected `folds pairs`"),
    ],
)
def test_malformed_table_is_named_by_its_row(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"pairs\.csv.*{message}"):
        pair_lists.lfw(tmp_path / "pairs.csv")


# The script and the registry.


def script():
    spec = importlib.util.spec_from_file_location(
        "data_script_lfw_of_all_forms", SCRIPTS / "lfw.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_accepts_kaggles_zip(data, whole, tmp_path, capsys):
    kaggle_zip(data, "archive.zip")
    module = script()
    script_job.main(module.__file__, module.make, ["--to", str(tmp_path / "out"), "--other-counts"])
    assert "verification/lfw.bin: 20 pairs, 10 genuine pairs" in capsys.readouterr().out


def test_registry_has_the_files_that_scikit_learn_fetches():
    from sklearn.datasets import _lfw

    files = {file.path: file for file in registry.get("lfw").files}
    for remote in (_lfw.ARCHIVE, _lfw.FUNNELED_ARCHIVE, *_lfw.TARGETS):
        assert files[f"lfw/{remote.filename}"].sha256 == remote.checksum
        assert remote.url in registry.get("lfw").source


def test_no_file_names_a_dead_address():
    root = SCRIPTS.parent
    for path in [
        *root.glob("data_scripts/**/*"),
        *root.glob("src/**/*.py"),
        *root.glob("src/**/*.yaml"),
        *root.glob("book/*.md"),
        root / "README.md",
    ]:
        if path.is_file() and path.suffix in (".py", ".yaml", ".md"):
            assert "vis-www" not in path.read_text(encoding="utf-8"), path


def test_missing_lfw_message_names_every_form(data):
    assert "archive.zip" in lfw.missing()
    assert paths.VARIABLE in lfw.missing()
    miniatures.lfw(data)
    with pytest.raises(DataError, match=r"lfw/pairsDevTrain\.txt is missing"):
        lfw.pairs(lfw.images(size=SIZE), "1-train")
