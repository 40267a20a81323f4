import numpy as np
import pytest

from cdmllab.metrics import error_rates
from cdmllab.metrics.calibration import wilson


def test_worst_pairs_come_first():
    got = error_rates.worst([0.9, 0.1, 0.8, 0.3, 0.7], [True, True, False, True, False], 2)
    assert got.genuine.tolist() == [1, 3]
    assert got.impostor.tolist() == [2, 4]
    assert len(error_rates.worst([0.9, 0.1], [True, False], 5).genuine) == 1
    with pytest.raises(ValueError, match="count must be 1 or more"):
        error_rates.worst([0.9, 0.1], [True, False], 0)


def test_error_rate_of_each_bin_equals_worked_values():
    got = error_rates.by_nuisance(
        [True, False, True, True], [0.0, 5.0, 20.0, 30.0], [0.0, 10.0, 20.0, 30.0]
    )
    assert got.pairs.tolist() == [2, 0, 2]  # the last bin holds its upper edge
    assert got.rate[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan([got.rate[1], got.low[1], got.high[1]]).all()
    assert (got.low[0], got.high[0]) == wilson(1, 2)[1:3]


def test_bins_of_equal_width_contain_every_pair():
    x = np.random.default_rng(0).normal(size=300)
    got = error_rates.by_nuisance(x > 1, x, 7)
    assert got.pairs.sum() == 300
    assert np.isclose(np.nansum(got.rate * got.pairs), (x > 1).sum())


def test_pairs_outside_the_edges_are_excluded():
    assert error_rates.by_nuisance([True] * 3, [-1.0, 0.5, 2.0], [0.0, 1.0]).pairs.tolist() == [1]


def test_bands_draw_people_where_they_are_known():
    """All errors are of one person: over pairs the rate is certain, over people it is not."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 20, 2000)
    b = (a + rng.integers(1, 20, 2000)) % 20
    wrong, x = (a == 3) | (b == 3), rng.random(2000)
    plain = error_rates.by_nuisance(wrong, x, [0.0, 0.5, 0.8, 0.9, 2.0])
    got = error_rates.by_nuisance(wrong, x, [0.0, 0.5, 0.8, 0.9, 2.0], people=(a, b))
    np.testing.assert_array_equal(got.rate, plain.rate)
    assert ((got.high - got.low) > 2 * (plain.high - plain.low)).all()
    outside = error_rates.by_nuisance(wrong, x, [1.5, 2.0], people=(a, b))
    assert outside.pairs.tolist() == [0]
    assert np.isnan(outside.low).all()


@pytest.mark.parametrize(
    ("wrong", "nuisance", "bins", "message"),
    [
        ([True], [1.0, 2.0], 2, "must both have shape"),
        ([], [], 2, "no pairs"),
        ([True, False], [1.0, np.nan], 2, "nuisance of pair 1 is not finite"),
        (
            [True, False],
            [1.0, 2.0],
            [0.0, 0.0, 1.0],
            "edges of bins must be two or more, in ascending order",
        ),
    ],
)
def test_invalid_arguments_of_by_nuisance_are_named(wrong, nuisance, bins, message):
    with pytest.raises(ValueError, match=message):
        error_rates.by_nuisance(wrong, nuisance, bins)


def test_twelve_worst_pairs_are_returned_with_ties_in_list_order():
    same = np.arange(80) % 2 == 0
    got = error_rates.worst(np.full(80, 0.5), same)
    assert got.genuine.tolist() == list(range(0, 24, 2))
    assert got.impostor.tolist() == list(range(1, 25, 2))
    assert error_rates.worst(
        [0.9, 0.1, 0.2, 0.3], [True, True, False, False], 1
    ).impostor.tolist() == [3]
    levels = np.random.default_rng(0).integers(0, 4, 600) / 4.0
    got = error_rates.worst(levels, np.arange(600) < 300, 200)
    in_order = sorted(range(300), key=lambda k: levels[k])
    assert got.genuine.tolist() == in_order[:200]
    assert got.impostor.tolist() == sorted(range(300, 600), key=lambda k: -levels[k])[:200]


def test_default_is_eight_bins_and_two_edges_are_the_minimum():
    x = np.linspace(0.0, 1.0, 160, endpoint=False)
    got = error_rates.by_nuisance(x > 0.5, x)
    assert got.pairs.tolist() == [20] * 8
    assert got.rate[[0, 7]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(got.edges, np.linspace(0.0, 159 / 160, 9))
    wide = error_rates.by_nuisance(
        [2, 0, 1], [0, 1, 1], [0, 2, 4, 8]
    )  # integers; no pair in the upper two bins
    assert wide.pairs.tolist() == [3, 0, 0]
    assert wide.rate[0] == 2 / 3
    assert wide.edges.dtype == np.float64
    for edges in ([0.0], [[0.0, 1.0]]):
        with pytest.raises(ValueError, match="must be two or more, in ascending order"):
            error_rates.by_nuisance(x > 0.5, x, edges)
    with pytest.raises(ValueError, match=r"shape \(p,\)"):
        error_rates.by_nuisance([[True]], [[1.0]])
