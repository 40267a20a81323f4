"""The exhaustive search in blocks, against a sort of all cosines."""

import numpy as np
import pytest

from cdmllab.metrics import nearest as module
from cdmllab.metrics.nearest import nearest


def embeddings(n, d=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def sorted_cosines(gallery, probes, k):
    unit = [
        e / np.linalg.norm(e.astype(np.float64), axis=1, keepdims=True) for e in (gallery, probes)
    ]
    cosines = unit[1] @ unit[0].T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(cosines, rows, axis=1)


@pytest.mark.parametrize(
    ("entries", "probes", "k"),
    [(1, 3, 1), (63, 5, 63), (64, 5, 3), (65, 1, 65), (1000, 70, 10), (9001, 1100, 7)],
)
def test_nearest_are_those_of_a_full_sort(entries, probes, k):
    gallery, queries = embeddings(entries), embeddings(probes, seed=1)
    rows, cosines = sorted_cosines(gallery, queries, k)
    result = nearest(gallery, queries, k)
    np.testing.assert_allclose(result.cosine, cosines, atol=1e-6)
    assert (result.row == rows).mean() > 0.999  # float32 may swap two that are equal to 1e-7
    assert (np.sort(result.row, axis=1)[:, 1:] > np.sort(result.row, axis=1)[:, :-1]).all()


def test_blocks_of_any_size_give_the_same(monkeypatch):
    gallery, queries = embeddings(500), embeddings(40, seed=1)
    whole = nearest(gallery, queries, 20)
    for rows, probes, chunk in ((7, 3, 2), (100, 40, 64), (128, 9, 5)):
        monkeypatch.setattr(module, "_ROWS", rows)
        monkeypatch.setattr(module, "_PROBES", probes)
        monkeypatch.setattr(module, "_CHUNK", chunk)
        assert np.array_equal(nearest(gallery, queries, 20).row, whole.row)


def test_equal_cosines_are_ordered_by_their_row(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 4)
    gallery = np.array([[0, 1], [1, 0], [2, 0], [0, 1], [1, 0], [3, 0], [1, 0]])
    result = nearest(gallery, [[1, 0], [0, 5]], k=4)
    assert result.row.tolist() == [[1, 2, 4, 5], [0, 3, 1, 2]]
    assert result.cosine.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_lengths_do_not_count_even_where_float32_squares_overflow():
    gallery, queries = embeddings(50), embeddings(5, seed=1)
    lengths = np.logspace(-19, 19, 50, dtype=np.float32)[:, None]
    assert np.array_equal(
        nearest(gallery * lengths, queries, 5).row, nearest(gallery, queries, 5).row
    )


def test_gallery_on_disk_is_searched_in_place(tmp_path):
    gallery = np.lib.format.open_memmap(tmp_path / "g.npy", "w+", np.float16, (300, 8))
    gallery[:] = embeddings(300)
    gallery.flush()
    there, queries = np.load(tmp_path / "g.npy", mmap_mode="r"), embeddings(5, seed=1)
    assert np.array_equal(nearest(there, queries, 3).row, nearest(gallery.copy(), queries, 3).row)


@pytest.mark.parametrize(
    ("gallery", "probes", "k", "message"),
    [
        (np.ones((4, 3)), np.ones((2, 2)), 1, r"got \(4, 3\) and \(2, 2\)"),
        (np.ones(4), np.ones((2, 4)), 1, r"the shapes must be gallery \(g, d\)"),
        (np.ones((4, 3)), np.ones((2, 3)), 5, "between 1 and the gallery's 4 entries, got 5"),
        (np.ones((4, 3)), np.ones((2, 3)), 0, "got 0"),
        (np.eye(4)[:, :3], np.ones((2, 3)), 1, "gallery entry 3 is zero or not finite"),
        (np.ones((4, 3)), np.full((2, 3), np.nan), 1, "probe 0 is zero or not finite, and so is 1"),
    ],
)
def test_bad_input_is_named(gallery, probes, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(gallery, probes, k)


def test_bad_entry_of_a_later_block_has_its_own_number(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 10)
    gallery = embeddings(35)
    gallery[27] = 0.0
    with pytest.raises(ValueError, match="gallery entry 27 is zero"):
        nearest(gallery, embeddings(2), 3)
