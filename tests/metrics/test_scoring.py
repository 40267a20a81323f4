import numpy as np
import pytest
from tests import oracles

from cdmllab.metrics import scoring

FEW, MANY = 300, 5000  # pairs of 60 embeddings: gathered, and read from a table


@pytest.fixture(autouse=True)
def few_pairs_are_gathered(monkeypatch):
    """The usual rule takes more embeddings than a test needs: a pair costs 50 cells, here 5."""
    monkeypatch.setattr(scoring, "_GRAM_FROM", 1 / 5)


def draw(pairs, n=60, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, 7)) * rng.uniform(1, 9, (n, 1)),
        rng.integers(0, n, pairs),
        rng.integers(0, n, pairs),
    )


@pytest.mark.parametrize("pairs", [FEW, MANY])
def test_cosines_equal_the_oracle(pairs):
    e, first, second = draw(pairs)
    want = [oracles.cosine(e[i], e[j]) for i, j in zip(first, second, strict=True)]
    np.testing.assert_allclose(scoring.cosines(e, first, second), want, atol=1e-14)


@pytest.mark.parametrize("in_order", [True, False])
def test_cosines_from_several_blocks_equal_one(monkeypatch, in_order):
    e, first, second = draw(3000)
    first = np.sort(first) if in_order else first
    in_one_block = scoring.cosines(e, first, second)
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 8 * 60 * 7)
    np.testing.assert_allclose(scoring.cosines(e, first, second), in_one_block, atol=1e-14)


def test_cosines_do_not_change_their_arguments():
    e, first, second = draw(3000)
    before = e.copy(), first.copy(), second.copy()
    scoring.cosines(e, first, second)
    for was, now in zip(before, (e, first, second), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize(("pairs", "other"), [(FEW, "_tabulated"), (MANY, "_gathered")])
def test_pairs_are_compared_in_the_cheaper_way(monkeypatch, pairs, other):
    """3,600 cells, and five of them cost as much as a pair: 720 pairs cost the same either way."""
    monkeypatch.setattr(scoring, other, None)
    scoring.cosines(*draw(pairs))


def test_the_cost_of_a_pair_is_that_of_fifty_cells(monkeypatch):
    monkeypatch.undo()
    e, first, second = np.eye(10)[:, :4] + 1.0, *np.divmod(np.arange(100), 10)
    taken = []
    for way in ("_gathered", "_tabulated"):
        monkeypatch.setattr(scoring, way, lambda *_, way=way: taken.append(way))
    scoring.cosines(e, first[[0, -1]], second[[0, -1]])  # 4 cells, 2 pairs
    monkeypatch.setattr(scoring, "_used", lambda rows, n: np.arange(10))  # 100 cells, 1 pair
    scoring.cosines(e, [3], [4])
    scoring.cosines(e, [3, 4], [4, 5])
    assert taken == ["_tabulated", "_gathered", "_tabulated"]


@pytest.mark.parametrize("pairs", [FEW, MANY])
def test_embeddings_in_half_precision_are_compared_in_double(pairs):
    e, first, second = draw(pairs)
    rough = e.astype(np.float16)
    np.testing.assert_array_equal(
        scoring.cosines(rough, first, second),
        scoring.cosines(rough.astype(np.float64), first, second),
    )


@pytest.mark.parametrize("pairs", [FEW, MANY])
def test_compared_rows_without_a_direction_are_named(pairs):
    e, first, second = draw(pairs)
    for bad in (0.0, np.nan, np.inf):
        spoilt = e.copy()
        spoilt[first[3]] = bad
        with pytest.raises(
            ValueError, match=f"embedding of template {first[3]} is zero or not finite$"
        ):
            scoring.cosines(spoilt, first, second, noun="template")


def test_squared_l2_from_cosines_is_the_distance_of_unit_vectors():
    e, first, second = draw(300)
    unit = scoring.unit(e)
    want = np.sum(np.square(unit[first] - unit[second]), 1)
    got = scoring.convert(scoring.cosines(e, first, second), "cosine", "squared_l2")
    np.testing.assert_allclose(got, want, atol=1e-14)
    assert scoring.convert(1.0 + 1e-15, "cosine", "squared_l2") == 0.0


SIXTY = {"cosine": 0.5, "cosine_distance": 0.5, "squared_l2": 1.0, "angle_rad": np.pi / 3}


@pytest.mark.parametrize("given", SIXTY)
@pytest.mark.parametrize("target", SIXTY)
def test_convert_at_sixty_degrees_and_back(given, target):
    assert np.isclose(scoring.convert(SIXTY[given], given, target), SIXTY[target])
    x = scoring.convert([-1.0, -0.2, 0.9], "cosine", given)
    np.testing.assert_allclose(
        scoring.convert(scoring.convert(x, given, target), target, given), x, atol=1e-7
    )


def test_convert_refuses_impossible_values():
    with pytest.raises(ValueError, match=r"cosine_distance must lie in \[0, 2\], got -0\.3"):
        scoring.convert([0.1, -0.3], "cosine_distance", "cosine")
    with pytest.raises(ValueError, match=r"angle_rad must lie in \[0, 3\.142\], got nan"):
        scoring.convert(np.nan, "angle_rad", "cosine")
    with pytest.raises(ValueError, match="unknown scale 'l2'"):
        scoring.convert(0.1, "l2", "cosine")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0], [60], "name image 60, but there are only 60"),
        ([-1], [0], "name image -1"),
        ([], [], "no pairs"),
        ([0, 1], [0], r"shape \(p,\)"),
    ],
)
def test_pairs_that_do_not_fit_are_named(first, second, message):
    with pytest.raises(ValueError, match=message):
        scoring.cosines(draw(1)[0], np.array(first, int), np.array(second, int))


@pytest.mark.parametrize(
    ("bad", "ending"),
    [([7], "$"), ([7, 2], ", and so is 1 other$"), ([7, 2, 9, 4], ", and so are 3 others$")],
)
def test_rows_without_a_direction_are_counted(bad, ending):
    e = np.ones((10, 3))
    e[bad] = 0.0
    with pytest.raises(ValueError, match=f"image {min(bad)} is zero or not finite{ending}"):
        scoring.unit(e)


def test_one_pair_and_equal_rows_are_compared():
    e = np.array([[3.0, 4.0], [0.0, 2.0]])
    assert scoring.cosines(e, [0], [1]).tolist() == [0.8]
    assert scoring.cosines(e, [1, 0], [1, 0]).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(scoring.unit(e), [[0.6, 0.8], [0.0, 1.0]])


@pytest.mark.parametrize("pairs", [FEW, MANY])
def test_short_embeddings_have_a_direction_too(pairs):
    e, first, second = draw(pairs)
    np.testing.assert_allclose(
        scoring.cosines(1e-9 * e, first, second), scoring.cosines(e, first, second), atol=1e-14
    )


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        ("cosine", -1.0, 1.0),
        ("cosine_distance", 0.0, 2.0),
        ("squared_l2", 0.0, 4.0),
        ("angle_rad", 0.0, np.pi),
    ],
)
def test_a_scale_ends_where_rounding_does(scale, low, high):
    near = scoring.convert([low - 9e-7, high + 9e-7], scale, scale)
    np.testing.assert_allclose(near, [low, high], rtol=0, atol=1e-6)
    assert low <= near.min() <= near.max() <= high
    assert scoring.convert([1, 0], scale, scale).dtype == np.float64
    for beyond in (low - 2e-6, high + 2e-6):
        with pytest.raises(ValueError, match=f"^{scale} must lie in"):
            scoring.convert(beyond, scale, "cosine")


@pytest.mark.parametrize("e", [np.ones(4), np.ones((2, 2, 2))])
def test_embeddings_are_a_table(e):
    with pytest.raises(ValueError, match=r"embeddings must have shape \(n, d\)"):
        scoring.cosines(e, [0], [1])
