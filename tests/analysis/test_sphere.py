import math

import numpy as np
import pytest
import torch

from cdmllab.analysis import sphere

# The best arrangements there are: tetrahedron, octahedron, icosahedron; ten points by Tammes'
# problem.
BEST_DEG = {
    4: math.degrees(math.acos(-1 / 3)),
    6: 90.0,
    12: math.degrees(math.acos(5**-0.5)),
    10: 66.147,
}


@pytest.mark.parametrize("count", BEST_DEG)
def test_most_even_points_are_the_known_ones(count):
    result = sphere.nearest_deg(sphere.most_even(count, 3))
    assert result.min() == pytest.approx(BEST_DEG[count], abs=0.15)
    assert result.min() <= BEST_DEG[count] + 1e-3


@pytest.mark.parametrize(("count", "dim"), [(3, 8), (6, 5), (9, 8)])
def test_few_points_form_the_simplex_of_the_bound(count, dim):
    result = sphere.nearest_deg(sphere.most_even(count, dim))
    assert sphere.bound_deg(count, dim) == pytest.approx(math.degrees(math.acos(-1 / (count - 1))))
    np.testing.assert_allclose(result, sphere.bound_deg(count, dim), atol=0.1)


def test_points_beyond_a_simplex_cannot_exceed_a_right_angle():
    assert sphere.bound_deg(7, 5) == 90.0
    assert sphere.nearest_deg(sphere.most_even(10, 5)).min() == pytest.approx(90.0, abs=0.1)
    assert sphere.nearest_deg(sphere.most_even(11, 5)).min() < 89.0


def test_most_even_follows_its_seed():
    assert torch.equal(sphere.most_even(5, 3, steps=20), sphere.most_even(5, 3, steps=20))
    assert not torch.equal(
        sphere.most_even(5, 3, steps=20), sphere.most_even(5, 3, seed=1, steps=20)
    )


def test_nearest_excludes_the_point_itself_and_ignores_lengths():
    points = np.array([[2.0, 0.0], [0.0, 1.0], [-3.0, 3.0]])
    np.testing.assert_allclose(sphere.nearest_deg(points), [90.0, 45.0, 45.0])


@pytest.mark.parametrize("dim", [2, 3, 64, 512])
def test_chance_density_adds_up_and_has_the_spread_of_random_directions(dim):
    degrees = np.linspace(0.0, 180.0, 20_001)
    density = sphere.chance_density(degrees, dim)
    assert np.trapezoid(density, degrees) == pytest.approx(1.0, abs=1e-3)
    sd = math.sqrt(np.trapezoid(density * (degrees - 90.0) ** 2, degrees))
    a, b = sphere.at_random(4000, dim), sphere.at_random(4000, dim, seed=1)
    drawn = torch.rad2deg(torch.acos((a * b).sum(dim=1)))
    assert float(drawn.std()) == pytest.approx(sd, rel=0.05)


def test_spectrum_of_an_ellipsoid_and_its_dimension():
    axes = torch.tensor([3.0, 3.0, 1.0, 0.0], dtype=torch.float64)
    far = torch.tensor([0.0, 0.0, 0.0, 1e3], dtype=torch.float64)  # nearly flat where they lie
    x = (
        torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        * axes
        + far
    )
    shares = sphere.spectrum(x)
    np.testing.assert_allclose(shares, [9 / 19, 9 / 19, 1 / 19, 0.0], atol=0.01)
    assert sphere.effective_dim(shares) == pytest.approx(19**2 / (81 + 81 + 1), rel=0.02)


def test_effective_dimension_lies_between_one_and_all():
    assert sphere.effective_dim([1.0, 0.0, 0.0]) == 1.0
    assert sphere.effective_dim([0.25] * 4) == pytest.approx(4.0)
    shares = sphere.spectrum(sphere.at_random(20_000, 16))
    assert sphere.effective_dim(shares) == pytest.approx(16.0, abs=0.1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sphere.nearest_deg([[1.0, 0.0]]), r"points must have shape \(n, d\)"),
        (lambda: sphere.bound_deg(1, 3), "at least 2 points and 2 dimensions"),
        (lambda: sphere.chance_density([90.0], 1), "at least 2 dimensions"),
        (lambda: sphere.spectrum(np.ones(3)), r"embeddings must have shape \(n, d\)"),
    ],
)
def test_invalid_arguments_are_rejected(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
