"""The values behind the widgets, against heads, closed forms and finite differences."""

import base64
import io
import math

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from tests.book.examples import example

from cdmllab import faces
from cdmllab.book.widgets import (
    CdmlAtWork,
    DecisionBoundary,
    FaceLab,
    Hypersphere,
    TargetLogit,
    Threshold,
    TwoLosses,
    unpacked,
)
from cdmllab.book.widgets.cdml_at_work import ANGLES_DEG
from cdmllab.book.widgets.face_lab import AXES, SHAPE
from cdmllab.book.widgets.target_logit import OPTIONS
from cdmllab.heads import DenseHead
from cdmllab.margins.adaface import AdaFace


def head_of(policy, centres, scale):
    """The dense head with these class centres, repeated K times, in float64 evaluation."""
    copies = policy.centres_per_identity
    head = DenseHead(
        policy,
        name="test",
        embedding_dim=centres.shape[1],
        num_identities=len(centres),
        scale=scale,
    )
    head.centres.data = centres.repeat_interleave(copies, dim=0)
    return head.double().eval()


def at(*degrees):
    """Unit vectors in the plane, (n, 3)."""
    a = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([a.cos(), a.sin(), torch.zeros_like(a)], dim=1)


@pytest.mark.parametrize("negative_deg", [90.0, 65.0])
@pytest.mark.parametrize("loss", OPTIONS)
def test_explorer_loss_is_the_heads(loss, negative_deg):
    chosen = TargetLogit(
        loss=loss,
        identities=10,
        negative_deg=negative_deg,
        s=20.0,
        quality=0.5,
        boost=0.3,
        draw=1.5,
    )
    policy = chosen.policy()
    for theta_deg in (12.0, 61.0, 95.0, 170.0):
        # The other centres are so turned around the embedding that all have the same angle to it.
        own, other, embedding = at(0.0), at(theta_deg + negative_deg), at(theta_deg)
        length = (
            50.0 + chosen.quality / policy.h * (1.0 + 1e-3)
            if isinstance(policy, AdaFace)
            else chosen.length
        )
        head = head_of(policy, torch.cat([own, other.expand(9, 3)]), chosen.s)
        expected = head(length * embedding, torch.tensor([0])).loss.item()
        assert chosen.curves([theta_deg]).loss[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", OPTIONS)
def test_explorer_pull_is_the_slope_of_the_loss(loss):
    chosen = TargetLogit(loss=loss, s=16.0)
    angles, step = np.array([20.3, 52.1, 77.7, 100.9, 160.2]), 1e-4
    slopes = (chosen.curves(angles + step).loss - chosen.curves(angles - step).loss) / (
        2 * math.radians(step)
    )
    np.testing.assert_allclose(chosen.curves(angles).pull, slopes, rtol=1e-5, atol=1e-7)


def test_explorer_gradient_at_the_centre_is_that_of_arcface():
    at_centre = TargetLogit(loss="arcface", m2=0.5, s=16.0, negative_deg=0.0).curves([0.0, 180.0])
    missed = 1.0 / (1.0 + math.exp(16.0 * math.cos(0.5) - 16.0 - math.log(9_999)))
    assert at_centre.pull[0] == pytest.approx(16.0 * missed * math.sin(0.5), rel=1e-6)
    assert at_centre.pull_straight_through == pytest.approx([0.0, 0.0], abs=1e-6)


def test_explorer_gradients_differ_as_in_the_literature():
    ratio = np.divide(
        *TargetLogit(loss="arcface", s=1.0).curves(np.rad2deg(np.arccos([0.8, 0.5, 0.1, -0.5])))[3:]
    )
    np.testing.assert_allclose(ratio, [1.517, 1.154, 0.926, 0.601], atol=5e-4)
    exact, straight = TargetLogit(loss="cosface").curves([10.0, 80.0])[3:]
    np.testing.assert_array_equal(exact, straight)


def test_explorer_rejects_a_loss_without_a_target_curve():
    with pytest.raises(ValueError, match=r"loss must be one of normface, .*; got 'softmax'"):
        TargetLogit(loss="softmax")


@pytest.mark.parametrize("separation", [60.0, 90.0, 140.0])
def test_strip_of_arcface_is_its_margin(separation):
    chosen = DecisionBoundary(loss="arcface", m2=0.4, separation_deg=separation)
    assert chosen.strip_deg() == pytest.approx(math.degrees(0.4), abs=1e-6)
    assert chosen.boundaries_deg() == pytest.approx(
        [(separation - math.degrees(0.4)) / 2] * 2, abs=1e-6
    )


def test_strips_of_the_others_follow_their_formulas():
    a = math.radians(90.0)
    assert DecisionBoundary(loss="normface").strip_deg() == pytest.approx(0.0, abs=1e-6)
    # cos x - m = cos(a - x): with x = a / 2 - d the left side less the right is
    # 2 sin(a / 2) sin(d) - m
    d = math.asin(0.35 / (2.0 * math.sin(a / 2.0)))
    assert DecisionBoundary(loss="cosface").strip_deg() == pytest.approx(
        2.0 * math.degrees(d), abs=1e-6
    )
    assert DecisionBoundary(loss="sphereface").boundaries_deg()[0] == pytest.approx(
        90.0 / 2.35, abs=1e-6
    )
    # r cos x = cos(a - x) is tan x = (r - cos a) / sin a
    reach = math.degrees(math.atan2(1.6 - math.cos(a), math.sin(a)))
    assert DecisionBoundary(loss="softmax", ratio=1.6).boundaries_deg() == pytest.approx(
        (reach, 90.0 - reach), abs=1e-6
    )


def test_boundary_without_alpha_is_arcface():
    cdml, arcface = (DecisionBoundary(loss=loss, alpha=0.0, m2=0.5) for loss in ("cdml", "arcface"))
    assert cdml.boundaries_deg() == arcface.boundaries_deg()
    np.testing.assert_array_equal(cdml.leads([33.0, 170.0]), arcface.leads([33.0, 170.0]))


def test_margin_larger_than_the_gap_satisfies_nowhere():
    assert DecisionBoundary(m2=0.9, separation_deg=20.0).boundaries_deg() == (None, None)
    assert DecisionBoundary(m2=0.9, separation_deg=20.0).strip_deg() is None


@pytest.mark.parametrize("easiness", ["similarity", "gap", "angle_gap"])
@pytest.mark.parametrize("identities", [2, 100])
def test_batch_at_work_is_the_heads(easiness, identities):
    chosen = CdmlAtWork(
        easiness=easiness,
        shape="linear",
        identities=identities,
        schedule="cosine",
        progress=0.7,
        match_mean=True,
        s=32.0,
    )
    up = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)  # at a right angle to all samples
    centres = torch.cat([at(0.0), at(chosen.negative_deg), up.expand(identities - 2, 3)])
    head = head_of(chosen.policy(), centres, chosen.s)
    head.set_progress(chosen.progress)
    out = head(at(*chosen.angles_deg), torch.zeros(len(chosen.angles_deg), dtype=torch.int64))
    batch = chosen.batch()
    np.testing.assert_allclose(batch.loss, out.sample_loss.detach(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(batch.margin_rad, out.margin_rad, rtol=1e-9)
    np.testing.assert_allclose(batch.easiness, out.easiness, rtol=1e-9, atol=1e-12)
    assert batch.margin_rad.mean() == pytest.approx(chosen.margin_rad)


def test_batch_without_alpha_is_arcfaces():
    batch = CdmlAtWork(alpha=0.0).batch()
    np.testing.assert_array_equal(batch.pull, batch.arcface_pull)
    assert set(batch.margin_rad) == {0.49}


def test_batch_has_the_sample_that_is_looked_at():
    with pytest.raises(
        traitlets.TraitError, match=f"sample is 30, but there are only {len(ANGLES_DEG)}"
    ):
        CdmlAtWork(sample=30)


def test_look_at_points_on_their_centres():
    centres = np.eye(3)[None]
    globe = Hypersphere.from_embeddings(
        np.eye(3)[None], [0, 1, 2], centres, [[0.1, 0.2, 0.3]], epochs=[4], names=["a", "b", "c"]
    )
    assert globe.look() == pytest.approx((0.0, 90.0, 0.2, 1.0), abs=1e-6)
    turned = Hypersphere.from_embeddings(
        np.eye(3)[None], [1, 2, 0], centres, [[0.0] * 3], epochs=[4], names=["a", "b", "c"]
    )
    assert turned.look() == pytest.approx((90.0, 90.0, 0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": np.ones((2, 3, 3))}, r"points must have shape \(1, 3, 3\)"),
        ({"margin_rad": np.ones((1, 2))}, r"margin_rad must have shape \(1, 3\)"),
        ({"labels": [0, 1, 3]}, r"labels must lie in 0 \.\. 2, got 0 \.\. 3"),
    ],
)
def test_sphere_rejects_arrays_that_do_not_fit(changes, words):
    given = {
        "points": np.eye(3)[None],
        "labels": [0, 1, 2],
        "centres": np.eye(3)[None],
        "margin_rad": np.ones((1, 3)),
    }
    with pytest.raises(ValueError, match=words):
        Hypersphere.from_embeddings(**{**given, **changes}, epochs=[1], names=["a", "b", "c"])


def test_rates_count_the_pairs():
    chosen = Threshold.from_scores([0.9, 0.8, 0.2, 0.7, 0.1, 0.0, -0.5], [True] * 3 + [False] * 4)
    assert chosen.rates(0.5) == pytest.approx((1 / 4, 1 / 3, 2 / 3, 5 / 7))
    assert chosen.rates(0.2) == pytest.approx((1 / 4, 0.0, 1.0, 6 / 7), abs=1e-12)
    assert chosen.rates().accuracy == pytest.approx(6 / 7)  # it begins where the accuracy is best
    assert chosen.low < -0.5 < 0.9 < chosen.high


def test_threshold_rejects_pairs_of_one_kind():
    with pytest.raises(ValueError, match="all 2 pairs are genuine"):
        Threshold.from_scores([0.5, 0.6], [True, True])


def test_enrolled_frame_has_the_full_score():
    face = example("face_lab")
    assert face.score() == pytest.approx(1.0)
    scores = unpacked(face.scores, *SHAPE)
    assert scores.max() == pytest.approx(1.0)
    turned = FaceLab(**{**face.state(), "yaw": 0, "occlusion": 2})
    assert turned.score() == scores[0, 0, 1, 2] < 0.9


def test_sprite_has_each_frame_in_its_place():
    face = example("face_lab")
    sheet = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(face.sprite))).convert("RGB"), dtype=float
    )
    size = sheet.shape[1] // face.columns
    for at_axes in ((6, 0, 1, 0), (0, 2, 0, 1), (12, 1, 2, 2)):
        yaw, age, light, occlusion = (
            steps[k] for steps, k in zip(AXES.values(), at_axes, strict=True)
        )
        drawn = faces.render(
            3,
            size=size,
            yaw=yaw,
            age=age,
            light_azimuth=light,
            contrast=0.7 * abs(light) / 75.0,
            occlusion=occlusion,
        )[0].permute(1, 2, 0)
        row, column = divmod(int(np.ravel_multi_index(at_axes, SHAPE)), face.columns)
        frame = sheet[row * size : (row + 1) * size, column * size : (column + 1) * size]
        assert np.abs(frame - drawn.numpy()).mean() < 12  # a WebP of quality 60


def test_two_losses_show_the_same_sample_to_both():
    """AdaFace's z is 0.5 at length 75, and MagFace's margin 0.45 + 0.35 * 0.65."""
    shown = TwoLosses(first="adaface", second="magface", length=75.0, s=10.0, theta_deg=60.0)
    adaface, magface = (values.psi[0] for values in shown.curves([60.0]))
    theta = math.radians(60.0)
    assert adaface == pytest.approx(math.cos(theta - 0.2) - 0.6, rel=1e-6)
    assert magface == pytest.approx(math.cos(theta + 0.45 + 0.35 * 0.65), rel=1e-6)


def test_question_of_two_losses_has_the_answer_that_the_chapter_gives():
    """At 40 degrees a longer embedding wakes the sample up; at 75 it weakens the gradient."""
    for theta_deg, rises in ((40.0, True), (75.0, False)):
        short, long = (TwoLosses(length=length).curves([theta_deg]) for length in (20.0, 100.0))
        for before, after in zip(short, long, strict=True):
            assert bool(after.pull[0] > before.pull[0]) is rises
