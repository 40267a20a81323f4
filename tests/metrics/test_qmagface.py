"""The quality-aware score of QMagFace, compared with plain loops."""

import re

import numpy as np
import pytest

from cdmllab.metrics import qmagface
from cdmllab.metrics.qmagface import QualityWeight


def draw(n=400, seed=0):
    """Pairs whose cosine is raised by a low quality, as a penalty on quality would lower it."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    quality = rng.uniform(10.0, 20.0, n)
    return rng.normal(0.3 * same, 0.1) + 0.02 * quality, same, quality


def test_scores_above_the_crossing_stay_and_others_fall_with_quality():
    weight = QualityWeight(alpha=0.4, beta=1.0)
    got = qmagface.weighted_scores([0.5, 0.4, 0.3, 0.3], [7.0, 7.0, 1.0, 2.0], weight)
    np.testing.assert_allclose(got, [0.5, 0.4, 0.2, 0.1])
    np.testing.assert_allclose(weight.omega([0.9, 0.0]), [0.0, -0.4])


def test_fit_is_the_line_through_the_best_weights():
    scores, same, quality = draw()
    fmrs = [0.02, 0.05, 0.1, 0.2]
    got = qmagface.fit(scores, same, quality, fmrs=fmrs, weights=11, largest=0.5)
    grid = [k * 0.5 / 5 / quality.max() for k in (0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5)]
    points = []
    for fmr in fmrs:
        found = []
        for omega in grid:
            score = scores + omega * quality
            impostors = sorted(score[~same], reverse=True)
            refused = impostors[int(fmr * len(impostors) + 1e-9)]
            found.append((float((score[same] <= refused).mean()), refused, omega))
        points.append(min(found, key=lambda point: point[0])[1:])
    thresholds, omegas = zip(*points, strict=True)
    beta, intercept = np.polyfit(thresholds, omegas, 1)
    assert got.beta == pytest.approx(beta)
    assert got.alpha == pytest.approx(-intercept)
    # The weight that cancels the effect of the quality is -0.02: 0.5 / 20 allows up to -0.025.
    assert -0.026 < np.mean(omegas) < -0.01


def test_quality_that_says_nothing_gets_no_weight():
    rng = np.random.default_rng(3)
    same = np.arange(2000) < 1000
    scores = rng.normal(3.0 * same)
    weight = qmagface.fit(scores, same, np.ones(2000), fmrs=[0.01, 0.05, 0.1])
    assert weight == QualityWeight(0.0, 0.0)
    np.testing.assert_array_equal(qmagface.weighted_scores(scores, np.ones(2000), weight), scores)


def test_one_threshold_gives_a_constant_weight():
    scores, same = np.array([0.9, 0.8, 0.2, 0.2]), np.array([True, True, False, False])
    weight = qmagface.fit(scores, same, np.ones(4), fmrs=[0.5, 0.6])
    assert weight == QualityWeight(0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": [1.0, 0.0, 1.0, 1.0]}, "qualities must be positive, but that of pair 1 is 0"),
        ({"quality": [1.0, np.nan, 1.0, 1.0]}, "the quality of pair 1 is NaN"),
        ({"quality": [1.0]}, "quality must have shape (4,), got (1,)"),
        ({"fmrs": [0.5]}, "a line needs two or more FMRs, got 1"),
        ({"fmrs": [0.5, 0.1]}, "a FAR of 0.1 cannot be measured with 2 impostor pairs"),
        ({"weights": 4}, "weights must be odd and at least 3, got 4"),
    ],
)
def test_fit_refuses_in_one_sentence(changes, message):
    given = {
        "scores": [0.9, 0.8, 0.2, 0.1],
        "same": [True, True, False, False],
        "quality": [1.0, 2.0, 3.0, 4.0],
        "fmrs": [0.5, 1.0],
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        qmagface.fit(**(given | changes))


def test_weighted_scores_refuse_other_shapes():
    with pytest.raises(ValueError, match=r"must have the same shape, got \(2,\), \(1,\)"):
        qmagface.weighted_scores([0.1, 0.2], [1.0], QualityWeight(0.0, 0.0))
