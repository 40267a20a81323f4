"""Curves of every loss along whatever moves its margin, against worked values and declarations."""

import math

import numpy as np
import pytest

from cdmllab import margins
from cdmllab.analysis.margin_axes import Curve, Place, curve, curves, names

SHORT = Place(batches=20)
AT = {
    "angle": np.linspace(0.2, 2.8, 9),
    "negative": np.linspace(0.6, 2.0, 9),
    "norm": np.linspace(20.0, 80.0, 9),
    "class_size": np.array([2, 8, 32, 128, 512]),
    "progress": np.array([0.0, 0.5, 1.0]),
}
MOVER = {"negative": "gap", "norm": "norm", "class_size": "class", "progress": "time"}


@pytest.fixture(scope="module")
def all_curves():
    return {axis: curves(axis, at, SHORT) for axis, at in AT.items()}


@pytest.mark.parametrize("axis", AT)
def test_every_loss_with_cosines_has_every_curve(all_curves, axis):
    assert set(all_curves[axis]) == set(names()) == set(margins.names()) - {"softmax"}
    for name, seen in all_curves[axis].items():
        for part in seen:
            assert part.shape == AT[axis].shape, name
            assert part.dtype == np.float64
            assert np.isfinite(part).all(), name


@pytest.mark.parametrize("axis", MOVER)
def test_margins_move_along_the_axes_that_losses_name(all_curves, axis):
    for name, seen in all_curves[axis].items():
        causes = margins.moved_by(name)
        moves = float(np.ptp(seen.margin_cos)) > 1e-9
        if axis == "negative" and not moves:
            assert "gap" not in causes, name
        elif axis in ("norm", "class_size"):
            assert moves is (MOVER[axis] in causes or "chance" in causes), name
        elif axis == "progress" and "time" in causes:
            assert moves, name


def test_rarer_identities_get_the_larger_margin_from_every_loss_moved_by_the_class(all_curves):
    for name, seen in all_curves["class_size"].items():
        if "class" in margins.moved_by(name):
            assert (np.diff(seen.margin_cos) < 1e-9).all(), name
            assert seen.margin_cos[0] > seen.margin_cos[-1] + 1e-3, name


def near(got: Curve, part, want):
    np.testing.assert_allclose(getattr(got, part), want, rtol=1e-7, atol=1e-9)


def test_arcface_over_its_angle_equals_worked_values(all_curves):
    theta = np.array([0.4, 1.0, 2.0])
    seen = curve("arcface", "angle", theta, Place(scale=16.0))
    near(seen, "logit", 16.0 * np.cos(theta + 0.5))
    near(seen, "slope", np.sin(theta + 0.5) / np.sin(theta))
    near(seen, "margin_cos", np.cos(theta) - np.cos(theta + 0.5))


def test_mv_softmax_over_the_negative_equals_worked_values():
    """The target is cos(1) - 0.35 = 0.19: a negative above it counts 1.2 c + 0.2."""
    angles = np.array([0.8, 1.3, 1.5])
    c = np.cos(angles)
    want = 0.35 + np.where(c > math.cos(1.0) - 0.35, 0.2 * c + 0.2, 0.0)
    near(curve("mv_softmax", "negative", angles), "margin_cos", want)


def test_magface_over_the_norm_equals_worked_values():
    lengths = np.array([5.0, 60.0, 110.0])
    want = [math.cos(1.0) - math.cos(1.0 + m) for m in (0.45, 0.625, 0.8)]
    near(curve("magface", "norm", lengths), "margin_cos", want)


def test_losses_over_the_class_size_equal_worked_values():
    sizes = np.array([1, 16, 256])
    near(curve("ldam", "class_size", sizes), "margin_cos", [0.5, 0.25, 0.125])
    seen = curve("logit_adjustment", "class_size", sizes, Place(scale=8.0))
    near(seen, "margin_cos", np.log(16.0 / sizes) / 8.0)
    near(seen, "logit", 8.0 * math.cos(1.0) + np.log(sizes / 273.0))


def test_sphereface_over_the_training_equals_worked_values():
    """The softening is 1000 / (1 + 0.12 k) after k batches, and 4 radians give -cos 4 - 2."""
    seen = curve("sphereface", "progress", [0.25, 1.0], Place(batches=100))
    soft = 1000.0 / (1.0 + 0.12 * np.array([25, 100]))
    psi = -math.cos(4.0) - 2.0
    near(seen, "logit", 64.0 * (soft * math.cos(1.0) + psi) / (1.0 + soft))


def test_options_of_a_loss_are_passed_on():
    seen = curve("cdml", "progress", [0.0, 0.5, 1.0], SHORT, schedule="linear", margin_rad=0.5)
    pushed = 1.0 + 0.5 * (1.0 + 0.2 * np.array([0.0, 0.5, 1.0]))
    near(seen, "logit", 64.0 * np.cos(pushed))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("arcface", "colour", [1.0]), "axis must be one of 'angle', .*; got 'colour'"),
        (("softmax", "angle", [1.0]), "'softmax' has no curve; there are: normface"),
        (("arcface", "angle", []), r"at must hold finite numbers in one row, got shape \(0,\)"),
        (("arcface", "angle", [math.nan]), "at must hold finite numbers"),
        (("arcface", "progress", [0.5, 0.2]), r"progress must rise within \[0, 1\]"),
        (("arcface", "progress", [0.5, 1.2]), r"progress must rise within \[0, 1\]"),
        (("ldam", "class_size", [1.5, 2.0]), "class sizes must be whole numbers of 1 or more"),
        (("ldam", "class_size", [0, 2]), "class sizes must be whole numbers of 1 or more"),
    ],
)
def test_unknown_axes_and_losses_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        curve(*arguments)
