import numpy as np
import pytest

from cdmllab.analysis.sphere import aligning_rotation, at_random


def test_rotated_and_mirrored_points_come_back():
    points = at_random(7, 3, seed=1).numpy()
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    for orthogonal in (turn, turn @ np.diag([1.0, 1.0, -1.0])):
        rotation = aligning_rotation(points @ orthogonal, points)
        assert np.allclose(points @ orthogonal @ rotation, points)
        assert np.allclose(rotation @ rotation.T, np.eye(3))


def test_no_small_rotation_brings_noisy_points_nearer():
    rng = np.random.default_rng(3)
    points, onto = at_random(5, 3, seed=4).numpy(), at_random(5, 3, seed=5).numpy()
    best = np.square(points @ aligning_rotation(points, onto) - onto).sum()
    for _ in range(50):
        skew = 0.1 * rng.normal(size=(3, 3))
        turn, _ = np.linalg.qr(np.eye(3) + skew - skew.T)
        turn *= np.sign(np.diag(turn))
        other = points @ aligning_rotation(points, onto) @ turn
        assert np.square(other - onto).sum() >= best


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"one shape \(c, d\), got \(2, 3\) and \(3, 3\)"):
        aligning_rotation(np.ones((2, 3)), np.ones((3, 3)))
