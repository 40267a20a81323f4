"""LFW, Omniglot, AT&T faces and CFP's protocol: miniatures, and the originals if available."""

import numpy as np
import pytest
from tests.data import miniatures

from cdmllab.data import att_faces, lfw, omniglot, pair_lists, paths
from cdmllab.data.crop import Box
from cdmllab.errors import DataError
from cdmllab.evaluate import verify


def need(present: bool, how: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not present, reason=how)


def test_lfw_miniature_is_read_and_its_pairs_are_correct(data):
    miniatures.lfw(data)
    faces = lfw.images(size=(48, 40), box=Box(75, 72, 175, 192))
    assert faces.images.shape == (60, 48, 40, 1)
    assert faces.names[0] == "Person_00"
    pairs = lfw.pairs(faces)
    assert np.array_equal(faces.labels[pairs.first] == faces.labels[pairs.second], pairs.same)
    assert pairs.first[:2].tolist() == [0, 1]
    part = lfw.training_part(faces, pairs, 0, 4)
    assert set(part.identities.tolist()) == set(range(20)) - {0, 1, 8, 9}
    with pytest.raises(ValueError, match="folds must be one or more of"):
        lfw.training_part(faces, pairs, 10)


def test_lfw_pair_of_a_missing_image_is_named(data):
    miniatures.lfw(data)
    faces = lfw.images(size=(8, 8))
    text = (data / "lfw/pairs.txt").read_text()
    (data / "lfw/pairs.txt").write_text(text.replace("Person_00\t1\t3", "Person_00\t1\t4"))
    with pytest.raises(
        DataError, match=r"names Person_00/Person_00_0004\.jpg, which is not among the images"
    ):
        lfw.pairs(faces)


def test_missing_lfw_message_says_how_to_get_it(data):
    for call, script in (
        (lfw.images, "lfw.py"),
        (omniglot.load, "omniglot.py"),
        (att_faces.load, "att_faces.py"),
    ):
        with pytest.raises(DataError, match=script):
            call()
    assert not any(module.available() for module in (lfw, omniglot, att_faces))


@pytest.mark.parametrize("unpacked", [False, True])
def test_omniglot_miniature_is_read_zipped_and_unpacked(data, unpacked):
    miniatures.omniglot(data)
    if unpacked:
        from cdmllab.data.archives import extract

        extract(data / "omniglot-py/images_background_small1.zip", data / "omniglot-py")
        (data / "omniglot-py/images_background_small1.zip").unlink()
    assert omniglot.alphabets() == ("Greek", "Latin")
    drawings = omniglot.load(size=20)
    assert drawings.images.shape == (20, 20, 20, 1)
    assert drawings.names[0] == "Greek/character01"
    assert (
        omniglot.load(without=["Greek"]).num_identities
        == omniglot.load(only=["Latin"]).num_identities
        == 2
    )
    with pytest.raises(DataError, match="has no alphabet 'Klingon'; it has: Greek, Latin"):
        omniglot.load(only=["Klingon"])
    with pytest.raises(ValueError, match="part must be one of"):
        omniglot.load("images")


def test_att_folds_share_no_people(data):
    miniatures.att_faces(data)
    faces = att_faces.load()
    assert faces.images.shape == (200, 112, 92, 1)
    assert faces.names[9] == "s10"
    assert att_faces.stored_size() == (112, 92)
    pairs = att_faces.pairs(faces, per_fold=20)
    people = [set(faces.labels[pairs.first[pairs.fold == k]]) for k in range(10)]
    assert len(set.union(*people)) == sum(map(len, people)) == 20


@need(lfw.available(), lfw.HOW_TO_GET)
def test_lfw_as_it_is():
    faces = lfw.images(size=(48, 40), box=Box(75, 72, 175, 192))
    counts = np.bincount(faces.labels)
    assert (len(faces), faces.num_identities, (counts > 1).sum(), counts.max()) == (
        13_233,
        5_749,
        1_680,
        530,
    )
    pairs = lfw.pairs(faces)
    assert np.bincount(pairs.fold).tolist() == [600] * 10
    assert np.array_equal(faces.labels[pairs.first] == faces.labels[pairs.second], pairs.same)
    part = lfw.training_part(faces, pairs, 0, 1, 2)
    assert not np.isin(lfw.people_in(faces, pairs, 1), part.identities).any()
    flat = faces.images.reshape(len(faces), -1).astype(np.float64)
    raw = verify(flat - flat.mean(axis=1, keepdims=True), pairs)
    assert 0.60 < raw.accuracy.mean < 0.72  # raw pixels see something, and not much


@need(paths.find("lfw/pairsDevTrain.txt") is not None, lfw.HOW_TO_GET)
def test_lfw_view_1_as_it_is():
    sizes = [
        len(pair_lists.lfw(paths.find(lfw.VIEWS[view])).pairs.same)
        for view in ("1-train", "1-test")
    ]
    assert sizes == [2_200, 1_000]


@need(omniglot.available("images_background_small1"), omniglot.HOW_TO_GET)
def test_omniglot_as_it_is():
    one, two = (omniglot.load(f"images_background_small{k}") for k in (1, 2))
    assert (len(one), one.num_identities) == (2_720, 136)
    assert (len(two), two.num_identities) == (3_120, 156)
    both = set(omniglot.alphabets()) & set(omniglot.alphabets("images_background_small2"))
    assert both == {"Greek", "Latin"}
    assert one.images.mean() < 60  # white ink on black


@need(att_faces.available(), att_faces.HOW_TO_GET)
def test_att_faces_as_they_are():
    faces = att_faces.load()
    assert np.bincount(faces.labels).tolist() == [10] * 40
    pairs = att_faces.pairs(faces)
    assert np.bincount(pairs.fold).tolist() == [300] * 10


@need(
    paths.find("cfp/Protocol") is not None, "CFP's protocol is not there, see data_scripts/cfp.py"
)
@pytest.mark.parametrize("kind", ["FF", "FP"])
def test_cfp_protocol_as_it_is(kind):
    listed = pair_lists.cfp(paths.find("cfp/Protocol"), kind)
    assert np.bincount(listed.pairs.fold).tolist() == [700] * 10
    people = np.array([int(name.split("/")[2]) for name in listed.names])
    assert np.array_equal(
        people[listed.pairs.first] == people[listed.pairs.second], listed.pairs.same
    )
    side = np.array(["profile" in name for name in listed.names])
    assert side[listed.pairs.second].all() == (kind == "FP")
    assert not side[listed.pairs.first].any()
