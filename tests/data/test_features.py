"""Embeddings of all of LFW, computed once: whose they are, and when they are computed again."""

import numpy as np
import pytest
import torch
from tests.data import miniatures

from cdmllab import backbones, preprocessing
from cdmllab.data import lfw
from cdmllab.errors import DataError
from cdmllab.evaluate import embed, features, protocols, verify

USED = {**preprocessing.standard(3, 16), "crop": [5.0, 21.75, 107.0, 123.75]}


def network(seed=0):
    torch.manual_seed(seed)
    return backbones.create("small", size=16, width=4, embedding_dim=8).eval()


@pytest.fixture
def faces(data):
    """LFW in miniature: 20 people with three images each."""
    return miniatures.lfw(data)


def test_features_are_the_embeddings_of_each_file(faces):
    net = network()
    stored = features.of_lfw(net, USED, batch_size=7)
    assert stored.plain.shape == stored.mirrored.shape == (60, 8)
    assert stored.labels.tolist() == [k // 3 for k in range(60)]
    assert stored.files[:4] == tuple(
        f"Person_{k // 3:02d}/Person_{k // 3:02d}_{k % 3 + 1:04d}.jpg" for k in range(4)
    )
    assert stored.names == tuple(f"Person_{k:02d}" for k in range(20))
    assert (len(stored), stored.num_identities) == (60, 20)
    images = lfw.images(size=(16, 16), box=lfw.box(tuple(USED["crop"]))).images[5:6]
    x = preprocessing.apply(torch.from_numpy(images).permute(0, 3, 1, 2), USED)
    with torch.no_grad():
        np.testing.assert_allclose(stored.plain[5], net(x)[0], atol=1e-5)
        np.testing.assert_allclose(stored.mirrored[5], net(x.flip(-1))[0], atol=1e-5)
    assert np.abs(stored.plain[5] - stored.mirrored[5]).max() > 1e-3


def test_features_give_the_protocols_scores(faces):
    net = network()
    stored = features.of_lfw(net, USED)
    protocol = protocols.load("lfw/view2", 16, square=preprocessing.crop_of(USED))
    e = embed(net, protocol.images, flip=True, prepare=lambda x: preprocessing.apply(x, USED))
    want, got = verify(e, protocol.pairs), verify(stored.flip_sum, lfw.pairs(stored))
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)
    assert set(lfw.people_in(stored, lfw.pairs(stored), 0)) == {0, 1}


def test_features_are_computed_once_for_a_network_and_its_input(faces, monkeypatch):
    first = features.of_lfw(network(), USED)
    (path,) = (faces / "features").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(features, "embed", None)
        again = features.of_lfw(network(), USED)
        assert np.array_equal(again.plain, first.plain)
        for other, used in ((network(1), USED), (network(), preprocessing.standard(3, 16))):
            with pytest.raises(TypeError):
                features.of_lfw(other, used)
    other = features.of_lfw(network(1), USED)
    assert not np.array_equal(other.plain, first.plain)
    assert other.network_sha256 != first.network_sha256
    assert other.images_sha256 == first.images_sha256
    assert len(list((faces / "features").iterdir())) == 2
    path.write_bytes(path.read_bytes()[:1000])
    assert np.array_equal(features.of_lfw(network(), USED).plain, first.plain)


def test_another_archive_has_other_features(faces, monkeypatch):
    first = features.of_lfw(network(), USED)
    archive = faces / "lfw/lfwa.tar.gz"
    archive.rename(faces / "kept.tar.gz")
    with pytest.raises(DataError, match=r"lfw\.py"):
        features.of_lfw(network(), USED)
    archive.write_bytes((faces / "kept.tar.gz").read_bytes() + b"\0")
    again = features.of_lfw(network(), USED)
    assert again.images_sha256 != first.images_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plain": np.zeros((59, 8), dtype=np.float32)}, r"is damaged: it has 60 labels but 59 plain"),
        ({"files": np.array(["a"])}, r"is damaged: it has 60 labels but 1 files"),
        (
            {"mirrored": np.full((60, 8), np.nan, dtype=np.float32)},
            "has an embedding that is not finite",
        ),
        ({"preprocessing": "{}"}, "is not a file of features: preprocessing needs the keys"),
        ({"names": None}, "is not a file of features: .*names"),
    ],
)
def test_damaged_features_are_reported(faces, change, message):
    features.of_lfw(network(), USED)
    (path,) = (faces / "features").iterdir()
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files} | change
    np.savez(path, **{key: values for key, values in arrays.items() if values is not None})
    with pytest.raises(DataError, match=message):
        features.read(path)
    assert np.isfinite(features.of_lfw(network(), USED).mirrored).all()
