"""`cdmllab photos`, `compare` and `protocol` on rendered faces, with the detector of the extra."""

import re

import numpy as np
import pytest
from PIL import Image
from tests.photos import making
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data.decode import decode
from cdmllab.data.pairs import every


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with four people, a network, and a protocol of noise to calibrate it on."""
    root = tmp_path_factory.mktemp("place")
    making.folder(root / "album")
    (root / "album/person 1/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    making.network(root / "net.safetensors")
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(12), 3)
    pixels = rng.integers(0, 256, (12, 32, 32, 3))[identity] // 2
    pixels += rng.integers(0, 128, (36, 32, 32, 3))
    first, second, same, fold = every(identity)
    np.savez(
        root / "noise.npz", images=pixels.astype(np.uint8), first=first, second=second, same=same,
        fold=fold, identity=identity,
    )  # fmt: skip
    return root


def command(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def evaluated(place):
    done = command(
        "evaluate", place / "net.safetensors", "--protocol", place / "noise.npz",
        "--replicates", 50,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return place


def test_photos_are_reported_in_one_file_and_nothing_else_is_kept(place, tmp_path):
    before = sorted(place.rglob("*"))
    done = command(
        "photos", place / "album", "--model", place / "net.safetensors", "--far", 0.1,
        "--report", tmp_path / "album.html",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "12 faces of 13 photos, 4 people" in done.output
    assert "not compared: person 1/broken.jpg: the image cannot be decoded" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["album.html"]
    assert sorted(place.rglob("*")) == before
    text = (tmp_path / "album.html").read_text()
    assert text.count("<h3>person") == 4


def test_faces_are_kept_only_in_the_requested_folder(place, tmp_path):
    done = command(
        "photos", place / "album", "--model", place / "net.safetensors", "--far", 0.1,
        "--report", tmp_path / "album.html", "--keep", tmp_path / "kept", "--sample", 6,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "kept/embeddings.npz") as arrays:
        assert arrays["embedding"].shape == (len(arrays["photo"]), 8)
        names = arrays["photo"].tolist()
    faces = [tmp_path / "kept/faces" / f"{name}.png" for name in names]
    assert all(decode(face.read_bytes(), "face").shape == (32, 32, 3) for face in faces)
    again = command(
        "photos", place / "album", "--model", place / "net.safetensors",
        "--report", tmp_path / "album.html", "--keep", tmp_path / "kept",
    )  # fmt: skip
    assert "is not empty; name a new folder" in again.output


def test_evaluation_next_to_the_network_gives_the_threshold(evaluated, tmp_path):
    done = command(
        "photos", evaluated / "album", "--model", evaluated / "net.safetensors", "--by-likeness",
        "--far", 0.1, "--report", tmp_path / "a.html",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "groups by likeness" in done.output
    first, second = (evaluated / f"album/person {k}/0.png" for k in (0, 1))
    line = command("compare", first, second, "--model", evaluated / "net.safetensors", "--far", 0.1)
    assert line.exit_code == 0, line.output
    assert re.fullmatch(
        r"0.png, 0.png: cosine 0\.\d{3}, .* the threshold 0\.\d{3} \[.*\] for a FAR of 0.1 on "
        r".*noise.npz, where .* does not prove who is shown\n",
        line.output,
    )


def test_without_an_evaluation_two_photos_have_a_score_and_no_verdict(place, tmp_path):
    making.network(tmp_path / "other.safetensors")
    photo = place / "album/person 0/0.png"
    done = command("compare", photo, photo, "--model", tmp_path / "other.safetensors")
    assert "cosine 1.000; without an evaluation of this network (--calibration)" in done.output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody.png", "no face was found in it in any orientation"),
        ("text.jpg", "cannot be decoded"),
        ("none.jpg", "there is no file"),
    ],
)
def test_a_photo_that_cannot_be_compared_is_named(place, tmp_path, name, message):
    Image.new("RGB", (80, 80)).save(tmp_path / "nobody.png")
    (tmp_path / "text.jpg").write_text("hello")
    done = command(
        "compare", place / "album/person 0/0.png", tmp_path / name,
        "--model", place / "net.safetensors",
    )  # fmt: skip
    assert done.exit_code == 1
    assert name in done.output
    assert message in done.output


def test_checkpoint_without_its_input_is_refused_and_the_option_named(place, tmp_path):
    (tmp_path / "backbone.pth").write_bytes(b"x")
    done = command("photos", place / "album", "--model", tmp_path / "backbone.pth")
    assert done.exit_code == 1
    assert "does not record the input its network was trained on" in done.output
    assert "cdmllab weights convert" in done.output
    gone = command("photos", place / "album", "--model", tmp_path / "none.onnx")
    assert "is neither a run nor a file" in gone.output


def test_several_evaluations_are_not_chosen_from(evaluated, tmp_path):
    making.network(tmp_path / "net.safetensors")
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_bytes((evaluated / "noise.npz").read_bytes())
    done = command(
        "evaluate", tmp_path / "net.safetensors", "--protocol", tmp_path / "a.npz",
        tmp_path / "b.npz", "--replicates", 0,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    photo = evaluated / "album/person 0/0.png"
    done = command("compare", photo, photo, "--model", tmp_path / "net.safetensors")
    assert "has several evaluations; --calibration names one" in done.output


def test_a_protocol_of_photos_is_aligned_and_can_be_evaluated(place, tmp_path):
    out = tmp_path / "out"
    refused = command("protocol", place / "album", out, "--folds", 2)
    assert "a protocol needs aligned faces" in refused.output
    assert not out.exists()
    done = command(
        "protocol", place / "album", out, "--folds", 2, "--align", "--size", 32,
        "--hard", 0.5, "--model", place / "net.safetensors",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "12 genuine and 12 impostor pairs of" in done.output
    assert "not used: person 1/broken.jpg" in done.output
    assert "split it into 10 folds" in done.output
    assert command("inspect", out / "protocol.npz").exit_code == 0
    judged = command(
        "evaluate", place / "net.safetensors", "--protocol", out / "protocol.npz",
        "--replicates", 0,
    )  # fmt: skip
    assert judged.exit_code == 0, judged.output
    assert "accuracy" in judged.output


def test_too_few_people_for_ten_folds_is_one_sentence(place, tmp_path):
    done = command("protocol", place / "album", tmp_path / "out", "--align")
    assert done.exit_code == 1
    assert "do not fill 10 folds that share no people" in done.output
    assert "2 folds are possible" in done.output


def test_results_are_not_written_among_the_photos(place):
    for args in (
        ("protocol", place / "album", place / "album/out"),
        ("photos", place / "album", "--model", place / "net.safetensors",
         "--keep", place / "album/kept"),
    ):  # fmt: skip
        assert "is inside the folder of photos" in command(*args).output


def test_evaluations_of_a_network_are_recognised_by_its_weights(evaluated, tmp_path):
    making.network(tmp_path / "net.safetensors", size=48)
    record = next((evaluated / "net/eval").glob("*.json"))
    photo = evaluated / "album/person 0/0.png"
    done = command(
        "compare", photo, photo, "--model", tmp_path / "net.safetensors", "--calibration", record
    )
    assert "is an evaluation of another network than net.safetensors" in done.output
