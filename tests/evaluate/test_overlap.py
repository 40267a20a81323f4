"""Planted overlap: how much of it is detected, and how much accuracy it adds."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.making import write_pack
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data import perceptual
from cdmllab.data.decode import encode_jpeg
from cdmllab.data.pairs import Pairs, sample
from cdmllab.data.sets import ArraySet
from cdmllab.evaluate import overlap
from cdmllab.evaluate.npz import InMemory
from cdmllab.evaluate.protocol import Protocol
from cdmllab.faces import FaceWorld

SIZE, PLANTED = 64, 40


def altered(image, k):
    """Alter a copy: JPEG quality, size, brightness, a mirror, a crop of a pixel or two."""
    pixels = Image.fromarray(image)
    if k % 5 == 1:
        pixels = pixels.resize((48, 48)).resize((SIZE, SIZE))
    if k % 5 == 2:
        pixels = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if k % 5 == 3:
        pixels = pixels.point(lambda level: min(255, int(level * 1.2)))
    if k % 5 == 4:
        pixels = pixels.crop((1, 1, SIZE - 1, SIZE - 1)).resize((SIZE, SIZE))
    stream = io.BytesIO()
    pixels.save(stream, "JPEG", quality=70)
    return np.asarray(Image.open(stream))


@pytest.fixture(scope="module")
def world():
    trained = FaceWorld(50, 6, size=SIZE)
    strangers = FaceWorld(40, 6, size=SIZE, first=5000)
    return (
        trained.read(np.arange(300)),
        trained.labels,
        strangers.read(np.arange(240)),
        strangers.labels,
    )


@pytest.fixture(scope="module")
def planted(world):
    """A protocol of strangers, in which some images are copies of trained ones."""
    trained, labels, strangers, who = world
    rows = np.random.default_rng(3).choice(len(trained), PLANTED, replace=False)
    copies = np.stack([altered(trained[row], k) for k, row in enumerate(rows)])
    images = np.concatenate([copies, strangers])
    identity = np.concatenate([1000 + labels[rows], who])
    return rows, Protocol(
        "planted", InMemory(images), sample(identity, per_fold=3, folds=10), identity
    )


def test_planted_duplicates_are_found_by_the_hash_alone(world, planted):
    rows, protocol = planted
    shared = overlap.find(ArraySet(world[0], world[1]), protocol)
    hits = set(zip(shared.trained.tolist(), shared.judged.tolist(), strict=True))
    recall = sum((row, k) in hits for k, row in enumerate(rows.tolist())) / PLANTED
    false = {judged for _, judged in hits if judged >= PLANTED}
    assert recall >= 0.95
    assert len(false) <= 2
    assert shared.touched[:PLANTED].mean() >= 0.95


class Thumbnail(torch.nn.Module):
    """Embeddings of coarse, centred pixels: similar images get similar ones."""

    size = SIZE

    def __init__(self):
        super().__init__()
        self.register_buffer("of", torch.zeros(1))

    def forward(self, x):
        coarse = torch.nn.functional.adaptive_avg_pool2d(x, 12).flatten(1)
        return coarse - coarse.mean(dim=1, keepdim=True)


def test_embeddings_confirm_candidates_of_a_loose_hash(world, planted):
    from cdmllab.preprocessing import standard

    rows, protocol = planted
    source = ArraySet(world[0], world[1])
    loose = overlap.find(source, protocol, bits=90)
    sure = overlap.find(
        source, protocol, bits=90, backbone=Thumbnail(), prepare=standard(3, SIZE), cosine=0.97
    )
    hits = set(zip(sure.trained.tolist(), sure.judged.tolist(), strict=True))
    assert sum((row, k) in hits for k, row in enumerate(rows.tolist())) >= 0.95 * PLANTED
    assert len(sure.judged) < len(loose.judged)
    assert sure.cosines.min() >= 0.97
    assert sure.accuracy["pairs_without"] < sure.accuracy["pairs"] == 60
    assert 0.0 <= sure.accuracy["all"] <= 1.0


def test_shared_people_are_found_however_their_names_are_spelt(world):
    _, _, strangers, who = world
    names = tuple(f"Ann_{k}_O'Hara" for k in range(40))
    protocol = Protocol(
        "named", InMemory(strangers), sample(who, per_fold=5, folds=2), who, names=names
    )
    shared = overlap.find(
        ArraySet(world[0], world[1]),
        protocol,
        names=["ann 3 o-hara", "ANN 17 O HARA", "Bob"],
        bits=0,
    )
    assert shared.people == ("Ann_3_O'Hara", "Ann_17_O'Hara")
    assert set(who[shared.touched].tolist()) == {3, 17}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("José_W_Alba", "jose w. alba", True),
        ("Jos_Alba", "José Alba", False),
        ("王_伟", "王 伟", True),
        ("王伟", "李娜", False),
        ("Straße", "STRASSE", True),
    ],
)
def test_letters_of_every_script_tell_people_apart(one, other, same):
    assert (overlap.plain_name(one) == overlap.plain_name(other)) == same


def test_people_without_a_name_are_not_shared(world):
    _, _, strangers, who = world
    protocol = Protocol(
        "named", InMemory(strangers), sample(who, per_fold=5, folds=2), who, names=("--",) * 40
    )
    result = overlap.find(ArraySet(world[0], world[1]), protocol, names=["..."], bits=0)
    assert result.people == ()
    assert not result.touched.any()


def test_near_returns_exactly_the_pairs_within_the_limit():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**63, (n, 4)).astype(np.uint64) for n in (50, 70))
    second[:10] = first[:10] ^ np.uint64(0b101)
    shared = perceptual.near(first, second, 110)
    slow = [
        (
            i,
            j,
            sum(
                int(a ^ b).bit_count()
                for a, b in zip(first[i].tolist(), second[j].tolist(), strict=True)
            ),
        )
        for i in range(50)
        for j in range(70)
    ]
    assert list(zip(*map(np.ndarray.tolist, shared), strict=True)) == [
        one for one in slow if one[2] <= 110
    ]


def test_hash_is_the_sign_of_each_step_to_the_right():
    ramp = np.tile(np.arange(17, dtype=np.uint8)[None, :, None] * 10, (16, 1, 1))[None]
    assert perceptual.hashes(ramp).view(np.uint8).tolist() == [[255] * 32]
    assert perceptual.hashes(ramp[:, :, ::-1]).view(np.uint8).tolist() == [[0] * 32]


def test_command_reports_the_overlap(world, planted, tmp_path):
    _, protocol = planted
    pack = write_pack(
        tmp_path / "pack", world[1].tolist(), images=[encode_jpeg(face) for face in world[0]]
    )
    pairs: Pairs = protocol.pairs
    np.savez(
        tmp_path / "p.npz",
        images=protocol.images.content[0],
        first=pairs.first,
        second=pairs.second,
        same=pairs.same,
    )
    report = tmp_path / "report.json"
    done = CliRunner().invoke(
        app, ["overlap", str(pack), str(tmp_path / "p.npz"), "--report", str(report)]
    )
    assert done.exit_code == 0, done.output
    assert "shared people: unknown" in done.output
    kept = json.loads(report.read_text())
    assert kept["images_touched"] >= 0.95 * PLANTED
    assert kept["images"] == PLANTED + 240
