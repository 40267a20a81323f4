import numpy as np
import pytest
import torch

from cdmllab.analysis import projection


@pytest.fixture(scope="module")
def people():
    """Four clusters far apart in eight dimensions, 15 images each, and their labels."""
    rng = np.random.default_rng(0)
    centres = 4.0 * np.eye(8)[:4]
    who = np.repeat(np.arange(4), 15)
    return centres[who] + 0.3 * rng.normal(size=(60, 8)), who


@pytest.fixture(scope="module")
def flat(people):
    return projection.umap(people[0], neighbours=8)


def test_pca_is_the_projection_with_most_variance(people):
    x = projection.directions(people[0])
    shadow = projection.pca(people[0])
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(shadow, axis=0), values[:2])


def test_umap_keeps_people_together_and_follows_its_seed(people, flat):
    x, _ = people
    assert flat.shape == (60, 2)
    assert projection.neighbours_kept(x, flat, k=5) > 0.4
    assert projection.clusters(flat) == 4
    np.testing.assert_array_equal(flat, projection.umap(x, neighbours=8))


def test_umap_leaves_torchs_threads_as_they_were(people):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        projection.umap(people[0], neighbours=8)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_neighbours_kept_is_all_for_the_same_points_and_chance_for_others(people):
    x, _ = people
    assert projection.neighbours_kept(x, projection.directions(x)) == 1.0
    strangers = np.random.default_rng(1).normal(size=(60, 2))
    assert projection.neighbours_kept(x, strangers, k=5) < 0.25


def test_order_kept_detects_a_reversed_map():
    degrees = np.radians([0.0, 10.0, 40.0, 100.0])
    who = np.repeat(np.arange(4), 3)
    circle = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)[who]
    assert projection.order_kept(circle, circle, who) == pytest.approx(1.0)
    swapped = circle[np.repeat([0, 3, 1, 2], 3)]
    assert projection.order_kept(circle, swapped, who) < 0.5
    with pytest.raises(ValueError, match="at least three people"):
        projection.order_kept(circle[:6], circle[:6], who[:6])


def test_clusters_may_be_absent():
    assert projection.clusters(np.random.default_rng(0).normal(size=(80, 16))) == 0


def test_too_few_points_have_no_neighbours():
    with pytest.raises(ValueError, match="10 neighbours need more than 10 points, got 4"):
        projection.neighbours_kept(np.eye(4), np.ones((4, 2)))
