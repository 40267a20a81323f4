import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cdmllab import geometry


def test_unit_has_length_one_and_keeps_direction():
    x = torch.tensor([[3.0, 4.0], [-0.6, 0.8]])
    torch.testing.assert_close(geometry.unit(x), torch.tensor([[0.6, 0.8], [-0.6, 0.8]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_of_zero_is_zero_with_zero_gradient(dtype):
    x = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    u = geometry.unit(x)
    u.sum().backward()
    assert (u == 0).all()
    assert (x.grad == 0).all()


def test_unit_survives_large_half_precision_vectors():
    x = torch.full((1, 512), 3e4, dtype=torch.float16)
    torch.testing.assert_close(
        geometry.unit(x).float().norm(dim=1), torch.ones(1), atol=1e-2, rtol=0
    )


def test_unit_is_exact_for_small_half_precision_vectors():
    x = torch.full((4,), 0.005, dtype=torch.float16, requires_grad=True)
    u = geometry.unit(x)
    torch.testing.assert_close(u, torch.full((4,), 0.5, dtype=torch.float16), atol=1e-3, rtol=0)
    u[0].backward()
    assert x.grad[0] == pytest.approx(0.75 * 0.5 / 0.005, rel=0.01)


def test_unit_gradient_is_exact():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(geometry.unit, (x,))


@given(st.floats(-1.0, 1.0))
def test_sine_and_angle_agree_with_math(c):
    t = torch.tensor(c, dtype=torch.float64)
    assert math.isclose(float(geometry.angle(t)), math.acos(c), abs_tol=2e-8)
    assert math.isclose(float(geometry.sine(t)), math.sqrt(1.0 - c * c), abs_tol=2e-8)


@pytest.mark.parametrize("c", [-1.0, 1.0, -1.0 - 1e-7, 1.0 + 1e-7])
def test_angle_slope_is_finite_at_the_poles(c):
    t = torch.tensor(c, requires_grad=True)
    geometry.angle(t).backward()
    assert torch.isfinite(t.grad)


def test_angle_at_the_poles_is_exact():
    ends = geometry.angle(torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([0.0, math.pi, math.pi / 2], dtype=torch.float64))


def test_angle_between_resolves_tiny_angles():
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(1e-9), math.sin(1e-9)], dtype=torch.float64)
    assert math.isclose(float(geometry.angle_between(a, b)), 1e-9, rel_tol=1e-6)


@given(st.floats(0.0, math.pi), st.integers(0, 1000))
def test_point_at_lies_at_its_angle(angle, seed):
    generator = torch.Generator().manual_seed(seed)
    centre = geometry.unit(torch.randn(5, generator=generator, dtype=torch.float64))
    direction = torch.randn(5, generator=generator, dtype=torch.float64)
    point = geometry.point_at(centre, direction, angle)
    assert math.isclose(float(point.norm()), 1.0, abs_tol=1e-12)
    assert math.isclose(float(geometry.angle_between(centre, point)), angle, abs_tol=1e-9)


def test_cap_boundary_keeps_its_distance():
    centre = geometry.unit(torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64))
    ring = geometry.cap_boundary(centre, 0.4)
    angles = geometry.angle_between(ring, centre.expand_as(ring))
    torch.testing.assert_close(angles, torch.full_like(angles, 0.4))


def test_fibonacci_sphere_spreads_evenly():
    p = geometry.fibonacci_sphere(200)
    nearest = (p @ p.T - 2 * torch.eye(200)).amax(dim=1).acos()
    assert nearest.min() > 0.7 * math.sqrt(4 * math.pi / 200)
    assert p.mean(0).norm() < 1e-2


def test_fibonacci_sphere_refuses_no_points():
    with pytest.raises(ValueError, match="at least 1 point"):
        geometry.fibonacci_sphere(0)
