import numpy as np
import pytest
from tests.data import miniatures
from tests.evaluate.small_protocols import protocol, templates

from cdmllab.data import bins, pairs
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.evaluate import TemplateList, protocols


@pytest.mark.parametrize("name", protocols.names())
def test_every_named_protocol_loads_and_has_both_kinds_of_pairs_in_every_fold(name):
    try:
        loaded = protocols.load(name, 32 if name.startswith("lab") else None)
    except DataError as error:
        if "data_scripts/" not in str(error):
            raise
        pytest.skip(str(error))
    assert loaded.name == name
    assert protocols.about(name)
    for fold in np.unique(loaded.pairs.fold):
        assert 0 < loaded.pairs.same[loaded.pairs.fold == fold].mean() < 1
    if loaded.identity is not None and loaded.templates is None:
        first, second = loaded.identity[loaded.pairs.first], loaded.identity[loaded.pairs.second]
        np.testing.assert_array_equal(first == second, loaded.pairs.same)


def test_patterns_expand_to_each_name_once():
    assert protocols.matching(["digits/*", "digits/known"]) == ["digits/known", "digits/strangers"]
    assert protocols.matching(["some/where.npz"]) == ["some/where.npz"]
    assert len(protocols.matching(["lab/*"])) == len(protocols.matching(["lab-validation/*"])) > 5
    with pytest.raises(
        CdmlLabError,
        match=r"no protocol 'lab/lwf' \(did you mean 'lab/lfw'\?\); choose one of",
    ):
        protocols.matching(["digits/known", "lab/lwf"])


def test_lab_protocols_have_identities_nuisances_and_disjoint_parts():
    test, validation = (protocols.load(f"{part}/cfp_fp", 32) for part in ("lab", "lab-validation"))
    assert not set(test.identity) & set(validation.identity)
    yaw = test.nuisance_of_pairs("yaw (degrees)")
    assert yaw.min() > 55
    assert test.images.read([0, 5]).shape == (2, 32, 32, 3)
    assert protocols.load("lab/ijb", 32).templates is not None


def test_another_world_has_other_people_in_the_same_protocol():
    one, two = protocols.load("lab/lfw", 32), protocols.load("lab/lfw", 32, world=1)
    assert one.digest() == protocols.load("lab/lfw", 32, world=0).digest() != two.digest()
    assert (one.images.read([0]) != two.images.read([0])).any()
    with pytest.raises(
        CdmlLabError,
        match="only protocols of the face lab have worlds: digits/known cannot be drawn",
    ):
        protocols.load("digits/known", world=1)


def test_lab_has_variants_with_every_pair_and_plain_faces():
    every, plain = protocols.load("lab-plain-all/lfw", 32), protocols.load("lab-plain/lfw", 32)
    assert len(every.pairs.same) == 10 * 250 * 249 // 2
    assert len(plain.pairs.same) == 6_000
    assert not plain.nuisances["restyling"].any()
    assert not every.nuisances["roll (degrees)"].any()
    assert (
        protocols.about("lab-plain-all/lfw")
        == "everyday images, as in LFW, every pair, without restyling and roll"
    )
    assert not [name for name in protocols.names() if name in ("lab-all/ijb", "lab-plain/ijb")]


def subset(p, rows):
    return pairs.Pairs(*(column[rows] for column in p))


PAIRS = protocol().pairs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": subset(PAIRS, [])}, "protocol people has no pairs"),
        ({"pairs": subset(PAIRS, PAIRS.same)}, "all 100 pairs of protocol people are genuine"),
        ({"pairs": subset(PAIRS, ~PAIRS.same)}, "all 100 pairs of protocol people are impostor"),
        (
            {"pairs": PAIRS._replace(first=PAIRS.first + 100)},
            "a pair names image 1[2-9][0-9], but there are only 120",
        ),
        ({"pairs": PAIRS._replace(second=PAIRS.second - 119)}, "a pair names image -[0-9]+, but"),
        (
            {"pairs": PAIRS._replace(fold=np.zeros(3, int))},
            r"fold must have shape \(200,\), got \(3,\)",
        ),
        ({"identity": np.zeros(7, int)}, r"identity must have shape \(120,\), got \(7,\)"),
        ({"nuisances": {"yaw": np.zeros(7)}}, r"yaw must have shape \(120,\)"),
        (
            {"templates": TemplateList(np.zeros(7, int), np.zeros(120, int))},
            r"template must have shape \(120,\)",
        ),
    ],
)
def test_invalid_protocol_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        protocol(**changes)


def test_nuisance_of_a_pair_is_the_larger_or_the_difference():
    p = protocol(nuisances={"yaw": np.linspace(-60.0, 59.0, 120)})
    yaw = p.nuisances["yaw"]
    largest, apart = p.nuisance_of_pairs("yaw"), p.nuisance_of_pairs("yaw", "apart")
    for k, (i, j) in enumerate(zip(p.pairs.first, p.pairs.second, strict=True)):
        assert largest[k] == max(abs(yaw[i]), abs(yaw[j]))
        assert apart[k] == abs(yaw[i] - yaw[j])
    with pytest.raises(ValueError, match="has no nuisance 'age'; it has yaw"):
        p.nuisance_of_pairs("age")
    with pytest.raises(ValueError, match="compares templates"):
        templates(nuisances={"yaw": yaw}).nuisance_of_pairs("yaw")


def arrays(**changes):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    return {
        "images": pixels,
        "first": np.arange(4),
        "second": np.arange(4) + 2,
        "same": np.arange(4) < 2,
    } | changes


def test_npz_of_images_and_pairs_is_read_as_a_protocol(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays(fold=np.array([0, 1, 0, 1]), identity=np.arange(6) % 2))
    loaded = protocols.load(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(loaded.images.read([1, 4]), arrays()["images"][[1, 4]])
    assert loaded.pairs.fold.tolist() == [0, 1, 0, 1]
    assert loaded.identity.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "own.npz has no array 'images'; it has first, second, same"),
        (
            {"images": np.zeros((6, 3, 4, 4), np.uint8)},
            r"images must be uint8 of shape \(n, height, width, 1 or 3\)",
        ),
        ({"images": np.zeros((6, 4, 4, 3))}, "images must be uint8"),
        ({"same": np.ones(4, dtype=np.int64)}, "all 4 pairs of protocol .*own.npz are genuine"),
        ({"same": np.ones(4)}, "same must be integers of shape .n,., got float64"),
        ({"second": np.arange(4) + 9}, "a pair names image 9, but there are only 6"),
    ],
)
def test_invalid_npz_protocol_is_named(tmp_path, changes, message):
    kept = {key: value for key, value in arrays(**changes).items() if value is not None}
    np.savez(tmp_path / "own.npz", **kept)
    with pytest.raises(CdmlLabError, match=message):
        protocols.load(str(tmp_path / "own.npz"))


def test_file_in_another_format_is_named(tmp_path):
    with pytest.raises(CdmlLabError, match=r"gone\.npz does not exist"):
        protocols.load(str(tmp_path / "gone.npz"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(CdmlLabError, match=r"text\.npz is not a readable \.npz file"):
        protocols.load(str(tmp_path / "text.npz"))


def test_digest_changes_with_images_and_metadata():
    one, same = protocol(), protocol()
    assert one.digest() == same.digest()
    others = [
        protocol(images=one.images + 1.0),
        protocol(pairs=one.pairs._replace(same=~one.pairs.same)),
        protocol(identity=one.identity + 1),
        protocol(nuisances={"mask": one.nuisances["noise"]}),
        templates(pairs=one.pairs),
    ]
    assert len({p.digest() for p in (one, *others)}) == 6


def test_bin_is_read_as_a_protocol(tmp_path):
    rng = np.random.default_rng(3)
    images = list(rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))
    bins.write(tmp_path / "own.bin", images, [True, False] * 10)
    loaded = protocols.load(str(tmp_path / "own.bin"))
    assert len(loaded.images) == 40
    assert loaded.pairs.same.tolist() == [True, False] * 10
    assert loaded.pairs.fold.tolist() == np.repeat(np.arange(10), 2).tolist()
    bins.write_npz(tmp_path / "own.npz", bins.read(tmp_path / "own.bin"))
    again = protocols.load(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(again.images.read(range(40)), loaded.images.read(range(40)))
    assert again.pairs.same.tolist() == loaded.pairs.same.tolist()


def test_digest_changes_when_images_of_templates_are_replaced(data):
    """An evaluation is kept by the digest of its protocol; of half a million files the sizes are in
    it.
    """
    miniatures.ijbc(data)
    before = protocols.load("ijbc").digest()
    assert protocols.load("ijbc").digest() == before
    file = data / "IJBC/loose_crop/1.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    assert protocols.load("ijbc").digest() != before
    file.unlink()
    assert protocols.load("ijbc").digest() != before
