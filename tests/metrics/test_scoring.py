import numpy as np
import pytest

import oracles
from cdmllab.metrics import scoring


def draw(pairs, n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 7)) * rng.uniform(1, 9, (n, 1)), rng.integers(0, n, pairs), rng.integers(0, n, pairs)


@pytest.mark.parametrize("pairs", [40, 5000])  # gathered, and read from a table
def test_cosines_equal_the_oracle(pairs):
    e, first, second = draw(pairs)
    want = [oracles.cosine(e[i], e[j]) for i, j in zip(first, second, strict=True)]
    np.testing.assert_allclose(scoring.cosines(e, first, second), want, atol=1e-14)


@pytest.mark.parametrize("in_order", [True, False])
def test_cosines_from_several_blocks_equal_one(monkeypatch, in_order):
    e, first, second = draw(3000)
    first = np.sort(first) if in_order else first
    whole = scoring.cosines(e, first, second)
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 8 * 60 * 7)
    np.testing.assert_allclose(scoring.cosines(e, first, second), whole, atol=1e-14)


def test_cosines_leave_their_arguments_alone():
    e, first, second = draw(3000)
    before = e.copy(), first.copy(), second.copy()
    scoring.cosines(e, first, second)
    for was, now in zip(before, (e, first, second), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("pairs", [40, 5000])
def test_embeddings_in_half_precision_are_compared_in_double(pairs):
    e, first, second = draw(pairs)
    rough = e.astype(np.float16)
    np.testing.assert_array_equal(
        scoring.cosines(rough, first, second), scoring.cosines(rough.astype(np.float64), first, second)
    )


@pytest.mark.parametrize("pairs", [40, 5000])
def test_compared_rows_without_a_direction_are_named(pairs):
    e, first, second = draw(pairs)
    for bad in (0.0, np.nan, np.inf):
        spoilt = e.copy()
        spoilt[first[3]] = bad
        with pytest.raises(ValueError, match=f"embedding of template {first[3]} is zero or not finite$"):
            scoring.cosines(spoilt, first, second, what="template")


def test_squared_l2_from_cosines_is_the_distance_of_unit_vectors():
    e, first, second = draw(300)
    unit = scoring.unit(e)
    want = np.sum(np.square(unit[first] - unit[second]), 1)
    got = scoring.convert(scoring.cosines(e, first, second), "cosine", "squared_l2")
    np.testing.assert_allclose(got, want, atol=1e-14)
    assert scoring.convert(1.0 + 1e-15, "cosine", "squared_l2") == 0.0


SIXTY = {"cosine": 0.5, "cosine_distance": 0.5, "squared_l2": 1.0, "angle_rad": np.pi / 3}


@pytest.mark.parametrize("given", SIXTY)
@pytest.mark.parametrize("wanted", SIXTY)
def test_convert_at_sixty_degrees_and_back(given, wanted):
    assert np.isclose(scoring.convert(SIXTY[given], given, wanted), SIXTY[wanted])
    x = scoring.convert([-1.0, -0.2, 0.9], "cosine", given)
    np.testing.assert_allclose(scoring.convert(scoring.convert(x, given, wanted), wanted, given), x, atol=1e-7)


def test_convert_refuses_what_no_pair_can_have():
    with pytest.raises(ValueError, match=r"cosine_distance lies in \[0, 2\], got -0\.3"):
        scoring.convert([0.1, -0.3], "cosine_distance", "cosine")
    with pytest.raises(ValueError, match=r"angle_rad lies in \[0, 3\.142\], got nan"):
        scoring.convert(np.nan, "angle_rad", "cosine")
    with pytest.raises(ValueError, match="unknown scale 'l2'"):
        scoring.convert(0.1, "l2", "cosine")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([0], [60], "name picture 60, and there are only 60"),
        ([-1], [0], "name picture -1"),
        ([], [], "there are no pairs"),
        ([0, 1], [0], r"shape \(p,\)"),
    ],
)
def test_pairs_that_do_not_fit_are_named(first, second, said):
    with pytest.raises(ValueError, match=said):
        scoring.cosines(draw(1)[0], np.array(first, int), np.array(second, int))
