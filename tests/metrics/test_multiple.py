"""Holm's correction, compared with other packages' values and with its guarantee."""

import numpy as np
import pytest

from cdmllab.metrics.multiple import holm


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # statsmodels 0.15, multipletests(p, method="holm")
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.0011, 0.0136, 0.2, 0.2, 0.9], [0.0055, 0.0544, 0.6, 0.6, 0.9]),
        ([0.5, 0.5, 0.9], [1.0, 1.0, 1.0]),
        ([0.04], [0.04]),
    ],
)
def test_holm_equals_statsmodels(p, adjusted):
    np.testing.assert_allclose(holm(p), adjusted, rtol=1e-12)


def test_holm_equals_the_step_down_procedure_step_by_step():
    """p(1) is compared with 0.05 / m, p(2) with 0.05 / (m - 1), and so on until one fails."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.random(6) ** 3
        rejected = np.zeros(6, bool)
        for k, at in enumerate(np.argsort(p)):
            if p[at] > 0.05 / (6 - k):
                break
            rejected[at] = True
        assert ((holm(p) <= 0.05) == rejected).all()


def test_holm_keeps_the_chance_of_any_false_finding():
    rng = np.random.default_rng(1)
    false = [(holm(rng.random(12)) <= 0.05).any() for _ in range(4000)]
    assert 0.035 < np.mean(false) <= 0.06  # about 5 %; uncorrected it would be 46 %


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([], "shape"),
        ([[0.1]], "shape"),
        ([0.1, 1.2], "number 1 is 1.2"),
        ([np.nan], "number 0 is nan"),
    ],
)
def test_invalid_p_values_are_named(p, message):
    with pytest.raises(ValueError, match=message):
        holm(p)


def test_p_values_of_exactly_zero_and_one_are_allowed():
    assert holm([1.0, 0.0, 0.6]).tolist() == [1.0, 0.0, 1.0]
