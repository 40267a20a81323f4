"""Protocols from a folder of photos: folds, pairs, and formats that other code reads."""

import pickle

import numpy as np
import pytest
from PIL import Image

from cdmllab.data import bins, pair_lists
from cdmllab.data.inspection import inspect
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate import protocols
from cdmllab.photos import protocol
from cdmllab.photos.listing import photos_in
from cdmllab.photos.pairing import Rules, deal, draw


def people(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def folder(root, counts, side=16, names=None):
    rng = np.random.default_rng(5)
    for person, count in enumerate(counts):
        home = root / (names[person] if names else f"p{person}")
        home.mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
            Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(home / f"{k}.png")
    return root


@pytest.mark.parametrize("counts", [(2,) * 20, (40, *(2,) * 9, *(1,) * 10), (9, 8, 7, 6, 5) * 6])
def test_folds_share_no_people_and_each_has_both_kinds(counts):
    ids = people(*counts)
    fold = deal(ids, 10, seed=1)
    for k in range(10):
        own = ids[fold == k]
        assert len(np.unique(own)) >= 2
        assert np.bincount(own).max() >= 2
    assert len(np.unique(np.stack([ids, fold]), axis=1).T) == len(counts)  # one fold a person


def test_folds_have_about_as_many_genuine_pairs():
    ids = people(*(9, 8, 7, 6, 5, 4, 3, 2) * 5)
    fold = deal(ids, 10, seed=0)
    counts = np.bincount(ids)
    genuine = np.bincount(
        [fold[ids == person][0] for person in range(len(counts))],
        weights=counts * (counts - 1) / 2,
    )
    assert genuine.max() - genuine.min() <= 4  # of 60 a fold; dealing them blindly gives 40


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((3, 3, 3), "3 people, 3 of them .* do not fill 10 folds"),
        ((2,) * 5 + (1,) * 30, "35 people, 5 of them .*; 5 folds are possible"),
        ((5,) * 12, "12 people, 12 of them .*; 6 folds are possible"),
    ],
)
def test_too_few_people_are_refused_with_possible_settings(counts, message):
    with pytest.raises(CdmlLabError, match=message):
        draw(people(*counts), Rules())


def test_too_few_pairs_are_refused_with_the_available_number():
    with pytest.raises(CdmlLabError, match=r"fold \d has 2 and 4: at most 2 can be drawn"):
        draw(people(*(2,) * 8), Rules(folds=4, per_fold=3))


def test_the_same_seed_draws_the_same_pairs_and_every_fold_the_same_number():
    ids = people(*(4, 3, 5) * 8)
    first, again, other = (draw(ids, Rules(4, 10, seed=seed)) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.first != other.first).any()
    assert np.bincount(first.fold).tolist() == [20] * 4
    assert np.bincount(first.fold, weights=first.same).tolist() == [10] * 4
    assert ((ids[first.first] == ids[first.second]) == first.same).all()
    both = np.sort(np.stack([first.first, first.second]), axis=0)
    assert len(np.unique(both, axis=1).T) == 80


def test_hard_impostors_are_the_most_similar_with_one_per_two_people_first():
    ids = people(*(3,) * 8)
    rng = np.random.default_rng(0)
    e = rng.normal(size=(24, 16))
    easy, hard = (draw(ids, Rules(2, 6, share, seed=2), e) for share in (0.0, 0.5))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    fold = deal(ids, 2, seed=2)
    for k in range(2):
        mine = (hard.fold == k) & ~hard.same
        got = [tuple(sorted(p)) for p in zip(hard.first[mine], hard.second[mine], strict=True)]
        best = {}
        for i in np.flatnonzero(fold == k):
            for j in np.flatnonzero(fold == k):
                two = tuple(sorted((ids[i], ids[j])))
                if ids[i] < ids[j] and e[i] @ e[j] > best.get(two, (-2, ()))[0]:
                    best[two] = (e[i] @ e[j], tuple(sorted((i, j))))
        expected = [pair for _, pair in sorted(best.values(), reverse=True)[:3]]
        assert got[:3] == expected
        assert len(set(got)) == 6
    assert (easy.first[easy.same] == hard.first[hard.same]).all()


# Written, and read by the rules of others


def lfw_reader(root):
    """The rules of davidsandberg/facenet's lfw.py: split at white space, four digits."""
    lines = (root / "pairs.txt").read_text().splitlines()
    folds, per_fold = map(int, lines[0].split())
    paths, same = [], []
    for line in lines[1:]:
        pair = line.strip().split()
        one = (pair[0], pair[1])
        other = (pair[0], pair[2]) if len(pair) == 3 else (pair[2], pair[3])
        assert len(pair) in (3, 4)
        paths += [
            root / "images" / name / f"{name}_{int(number):04d}.jpg"
            for name, number in (one, other)
        ]
        same.append(len(pair) == 3)
    return folds, per_fold, paths, same


def test_all_three_formats_contain_the_same_pairs_and_pixels(tmp_path):
    names = [f"Ann {k}" if k % 2 else f"Zoë_{k}" for k in range(20)]
    source = photos_in(folder(tmp_path / "people", (3, 4) * 10, names=names))
    made = protocol.make(source, Rules(folds=10, per_fold=3))
    out = tmp_path / "out"
    protocol.write(made, out)

    judged = protocols.load(str(out / "protocol.npz"))
    expected = judged.images.read(
        np.stack([judged.pairs.first, judged.pairs.second], 1).reshape(-1)
    )
    assert np.bincount(judged.pairs.fold).tolist() == [6] * 10
    who = np.concatenate(judged.people())
    folds = np.concatenate([judged.pairs.fold] * 2)
    assert len(np.unique(np.stack([who, folds]), axis=1).T) == 20

    with (out / "protocol.bin").open("rb") as file:  # as arcface_torch's load_bin does it
        stored, same = pickle.load(file, encoding="bytes")  # written above
    assert len(stored) == 2 * len(same) == 120
    assert same == judged.pairs.same.tolist()
    assert (bins.read(out / "protocol.bin").decoded() == expected).all()
    cut = np.array_split(np.arange(len(same)), 10)  # sklearn's KFold without shuffling
    assert [k for k, rows in enumerate(cut) for _ in rows] == judged.pairs.fold.tolist()

    number, per_fold, paths, listed = lfw_reader(out)
    assert (number, per_fold) == (10, 3)
    assert listed == judged.pairs.same.tolist()
    decoded = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert (decoded == expected).all()
    ours = pair_lists.lfw(out / "pairs.txt")
    assert (ours.pairs.fold == judged.pairs.fold).all()
    assert len(ours.files_below(out / "images")) == len(made.jpeg)

    for name in ("protocol.npz", "protocol.bin", "images"):
        assert inspect(out / name).problems == [], name
    assert inspect(out / "protocol.npz").facts["people"] == "20"


def test_jpegs_of_aligned_faces_are_copied_unchanged(tmp_path):
    root = folder(tmp_path / "people", (2, 2, 2, 2))
    for png in root.rglob("*.png"):
        Image.open(png).save(png.with_suffix(".jpg"), quality=70)
        png.unlink()
    made = protocol.make(photos_in(root), Rules(folds=2))
    assert set(made.jpeg) <= {path.read_bytes() for path in root.rglob("*.jpg")}


def test_corrupt_image_is_named_and_skipped(tmp_path):
    root = folder(tmp_path / "people", (3, 3, 3, 3))
    (root / "p1/1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    made = protocol.make(photos_in(root), Rules(folds=2))
    assert list(made.missing) == ["p1/1.png"]
    assert len(made.pairs.same) > 0


def test_images_that_are_not_aligned_faces_are_refused_with_the_option_named(tmp_path):
    root = folder(tmp_path / "people", (2, 2, 2, 2))
    Image.new("RGB", (20, 16)).save(root / "p3/0.png")
    with pytest.raises(CdmlLabError, match=r"^p3/0.png is 20 x 16 pixels, others are 16 x 16.*--"):
        protocol.make(photos_in(root), Rules(folds=2))


def test_impossible_protocols_are_refused(tmp_path):
    root = folder(tmp_path / "people", (2, 2, 2, 2))
    with pytest.raises(CdmlLabError, match="hard impostors are chosen by a network: --model"):
        protocol.make(photos_in(root), Rules(folds=2, hard=0.5))
    with pytest.raises(CdmlLabError, match="needs one folder per person"):
        protocol.make(photos_in(root, people=False), Rules(folds=2))
    made = protocol.make(photos_in(root), Rules(folds=2))
    with pytest.raises(CdmlLabError, match="is not empty"):
        protocol.write(made, root)


def test_names_for_lists_have_no_spaces_and_stay_different():
    assert protocol.lfw_names(("Ann Lee", "Ann_Lee", "ann lee", "a/b", "Zoë", " ")) == [
        "Ann_Lee",
        "Ann_Lee_2",
        "ann_lee_3",
        "a_b",
        "Zoë",
        "person",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": [0, 0, 1, 1]}, "1 pairs contradict the identities"),
        ({"fold": [0, 1], "identity": [0, 0, 1, 2]}, None),
        ({"fold": [0, 1, 1], "first": [0, 2, 1], "second": [1, 3, 2], "same": [1, 0, 0],
          "identity": [0, 0, 1, 2]}, "folds share people"),
        ({"second": [1, 9]}, "pair 1 names an image that is not there"),
        ({"second": [1, 2]}, "1 pairs compare an image with itself"),
        ({"first": [0, 1], "second": [1, 0]}, "1 pairs occur more than once"),
        ({"same": [1, 1]}, "all of one kind"),
        ({"fold": [0]}, "must have one length"),
        ({"images": np.zeros((4, 8, 8, 3))}, "images must be uint8"),
    ],
)  # fmt: skip
def test_inspect_reports_faults_of_a_protocol(tmp_path, change, message):
    arrays = {
        "images": np.zeros((4, 8, 8, 3), np.uint8),
        "first": [0, 2],
        "second": [1, 3],
        "same": [1, 0],
    }
    np.savez(tmp_path / "p.npz", **(arrays | change))
    report = inspect(tmp_path / "p.npz")
    assert report.kind == "protocol"
    assert report.problems == [] if message is None else message in " ".join(report.problems)


def test_inspect_states_uneven_folds_of_a_protocol(tmp_path):
    np.savez(
        tmp_path / "p.npz",
        images=np.zeros((6, 8, 8, 3), np.uint8),
        first=[0, 2, 2],
        second=[1, 3, 4],
        same=[1, 1, 0],
        fold=[0, 1, 1],
        identity=[0, 0, 1, 1, 2, 2],
    )
    report = inspect(tmp_path / "p.npz")
    assert report.facts["folds"] == "2 of 1 to 2 pairs"
    assert report.problems == []
