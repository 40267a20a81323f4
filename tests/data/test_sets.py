import numpy as np
import pytest
from tests.data.making import folder, pixels, write_pack

from cdmllab.data import folders
from cdmllab.data.crop import Box, centre_square, crop, resize
from cdmllab.data.packs import Pack
from cdmllab.data.sets import ArraySet, Subset, at_least, at_most, decoded, occurrence, without
from cdmllab.errors import DataError

IMAGES = np.stack([pixels(k, 8) for k in range(7)])
LABELS = [2, 0, 2, 1, 2, 0, 2]


def test_subset_renumbers_its_identities():
    part = Subset(ArraySet(IMAGES, LABELS), [6, 1, 0])
    assert part.labels.tolist() == [1, 0, 1]
    assert part.identities.tolist() == [0, 2]
    assert part.num_identities == 2
    assert np.array_equal(part.read([2, 0]), IMAGES[[0, 6]])
    with pytest.raises(ValueError, match=r"0 \.\. 6"):
        Subset(ArraySet(IMAGES, LABELS), [7])


def test_without_leaves_people_out():
    part = without(ArraySet(IMAGES, LABELS), [2])
    assert part.rows.tolist() == [1, 3, 5]
    assert part.num_identities == 2


def test_occurrence_counts_equal_labels_before():
    assert occurrence([5, 2, 5, 5, 2]).tolist() == [0, 0, 1, 2, 1]


def test_at_least_and_at_most_count_images():
    whole = ArraySet(IMAGES, LABELS)
    assert at_least(whole, 2).identities.tolist() == [0, 2]
    few = at_most(whole, 2, seed=3)
    assert np.bincount(few.labels).tolist() == [2, 1, 2]
    assert few.rows.tolist() == sorted(few.rows.tolist())
    assert {tuple(at_most(whole, 2, seed=s).rows) for s in range(20)} > {tuple(few.rows)}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES.astype(np.float32), LABELS),
        (IMAGES[..., :2], LABELS),
        (IMAGES, LABELS[:3]),
        (IMAGES, [0.5] * 7),
    ],
)
def test_arrays_of_another_form_are_refused(images, labels):
    with pytest.raises(ValueError, match=r"images|label"):
        ArraySet(images, labels)


def test_labels_out_of_range_are_named():
    with pytest.raises(DataError, match=r"label 2 of image 0 is not a whole number in 0 \.\. 1"):
        ArraySet(IMAGES, LABELS, num_identities=2)


def test_decoded_set_is_read_from_its_file(tmp_path):
    pack = Pack(write_pack(tmp_path / "p"))
    steps = []
    first = decoded(pack, tmp_path / "p.npy", batch=4, progress=steps.append)
    assert steps == [4, 6]
    (tmp_path / "p/train.rec").unlink()
    again = decoded(pack, tmp_path / "p.npy", progress=steps.append)
    assert steps == [4, 6]
    assert np.array_equal(first.read(range(6)), again.read(range(6)))
    assert isinstance(again.images, np.memmap)
    assert again.labels.tolist() == pack.labels.tolist()


def test_decoded_file_of_another_set_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES[:3])
    with pytest.raises(DataError, match="remove it"):
        decoded(ArraySet(IMAGES, LABELS), tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", IMAGES[::-1])
    with pytest.raises(DataError, match="contains other images"):
        decoded(ArraySet(IMAGES, LABELS), tmp_path / "y.npy")


def test_interrupted_decoding_leaves_no_file(tmp_path):
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(ArraySet(IMAGES, LABELS), tmp_path / "x.npy", batch=2, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_folders_are_read_in_natural_order(tmp_path):
    root = folder(tmp_path / "f", [1] * 11)
    (root / "p1/note.txt").write_text("no image")
    (root / ".hidden").mkdir()
    people = folders.listing(root)
    assert people.names[:3] == ("p0", "p1", "p2")
    assert people.names[-1] == "p10"
    assert folders.load(root).images.shape == (11, 16, 16, 3)


def test_nested_folders_are_identities_by_their_path(tmp_path):
    folder(tmp_path / "f/greek", (2, 1))
    folder(tmp_path / "f/latin", (1,))
    assert folders.listing(tmp_path / "f").names == ("greek/p0", "greek/p1", "latin/p0")
    assert folders.listing(tmp_path / "f", min_images=2).names == ("greek/p0",)


def test_folder_of_different_sizes_needs_a_fit(tmp_path):
    folder(tmp_path / "f/a", (1,))
    folder(tmp_path / "f/b", (1,), size=20)
    with pytest.raises(DataError, match="its shape"):
        folders.load(tmp_path / "f")
    assert folders.load(tmp_path / "f", fit=lambda x: resize(x, 8, 8)).images.shape == (2, 8, 8, 3)


def test_crop_is_black_outside_the_image():
    x = pixels(1, 6)
    out = crop(x, Box(-2, 3, 4, 8))
    assert out.shape == (5, 6, 3)
    assert np.array_equal(out[:3, 2:], x[3:, :4])
    assert out[3:].max() == out[:, :2].max() == 0


def test_centre_square_is_the_central_crop():
    wide = np.zeros((4, 10, 1), np.uint8)
    wide[:, 3:7] = 200
    assert centre_square(wide, 4).min() == 200
    assert centre_square(wide, 2).shape == (2, 2, 1)


def test_saved_folders_round_trip(tmp_path):
    folders.save(tmp_path / "f", IMAGES, LABELS)
    again = folders.load(tmp_path / "f")
    order = np.argsort(LABELS, kind="stable")
    assert np.array_equal(again.images, IMAGES[order])
    assert again.labels.tolist() == sorted(LABELS)
    assert again.names == ("person_000", "person_001", "person_002")
    folders.save(tmp_path / "g", IMAGES[..., :1], LABELS, names=("a", "b", "c"))
    assert np.array_equal(
        folders.load(tmp_path / "g", colour="GRAY").images, IMAGES[order][..., :1]
    )
