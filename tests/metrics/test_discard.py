"""Curves of error against discard, compared with plain loops and with closed forms."""

import re

import numpy as np
import pytest

from cdmllab.metrics import discard
from cdmllab.metrics.bootstrap import _people
from cdmllab.metrics.discard_areas import area, resampled_areas
from cdmllab.metrics.verification import best_threshold


def draw(n=300, seed=0, decimals=1):
    """Scores and qualities with ties; a quality below 0 costs genuine pairs their score."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    quality = np.round(rng.normal(size=n), decimals)
    scores = np.round(rng.normal(2.0 * same + np.minimum(quality, 0.0) * same), decimals)
    return scores, same, quality


def left_by_loops(quality, same, rate, share_of):
    """Throw out one group of equal qualities after the other while the share allows it."""
    pairs = [k for k in range(len(quality)) if same[k] or share_of == "all"]
    out = set()
    for value in sorted({quality[k] for k in pairs}):
        group = {k for k in pairs if quality[k] == value}
        if len(out | group) > rate * len(pairs) + 1e-9:
            break
        out |= group
    return [k for k in range(len(quality)) if k not in out]


def lowest_threshold_by_loops(scores, same, rows, fmr):
    """Of all scores, and one above them, the lowest that accepts few enough impostor pairs."""
    impostors = [scores[k] for k in rows if not same[k]]
    for t in sorted({scores[k] for k in rows}):
        if sum(s >= t for s in impostors) <= fmr * len(impostors) + 1e-9:
            return t
    return np.inf


@pytest.mark.parametrize("threshold", ["fixed", "repicked"])
@pytest.mark.parametrize("decimals", [0, 1, 12])
@pytest.mark.parametrize("seed", range(3))
def test_fnmr_equals_plain_loops(seed, decimals, threshold):
    scores, same, quality = draw(120, seed, decimals)
    rates = [0.0, 0.1, 0.25, 0.5, 0.7]
    curve = discard.fnmr(scores, same, quality, fmr=0.1, threshold=threshold, rates=rates)
    for n, rate in enumerate(rates):
        rows = left_by_loops(quality, same, rate, "all")
        over = rows if threshold == "repicked" else range(len(scores))
        t = lowest_threshold_by_loops(scores, same, over, 0.1)
        genuine = [k for k in rows if same[k]]
        assert curve.left[n] == len(rows)
        assert curve.value[n] == sum(scores[k] < t for k in genuine) / len(genuine)
        impostors = [k for k in rows if not same[k]]
        assert curve.fmr[n] == sum(scores[k] >= t for k in impostors) / len(impostors)
        accepted = np.asarray(scores) >= curve.threshold[n]
        np.testing.assert_array_equal(accepted[list(over)], (scores >= t)[list(over)])


@pytest.mark.parametrize("seed", range(3))
def test_fnmr_of_genuine_pairs_only_equals_plain_loops(seed):
    scores, same, quality = draw(120, seed, 1)
    rates = [0.0, 0.2, 0.5, 0.9]
    curve = discard.fnmr(scores, same, quality, fmr=0.05, share_of="genuine", rates=rates)
    t = lowest_threshold_by_loops(scores, same, range(len(scores)), 0.05)
    for n, rate in enumerate(rates):
        rows = left_by_loops(quality, same, rate, "genuine")
        genuine = [k for k in rows if same[k]]
        assert curve.value[n] == sum(scores[k] < t for k in genuine) / len(genuine)
        assert (~same[rows]).sum() == (~same).sum()


@pytest.mark.parametrize("threshold", ["fixed", "repicked"])
def test_accuracy_equals_plain_loops(threshold):
    scores, same, quality = draw(200, 5)
    rates = [0.0, 0.3, 0.6]
    curve = discard.accuracy(scores, same, quality, threshold=threshold, rates=rates)
    for n, rate in enumerate(rates):
        rows = left_by_loops(quality, same, rate, "all")
        over = rows if threshold == "repicked" else slice(None)
        t = best_threshold(scores[over], same[over])
        assert curve.threshold[n] == t
        assert curve.value[n] == sum((scores[k] >= t) == same[k] for k in rows) / len(rows)
        impostors = [k for k in rows if not same[k]]
        assert curve.fmr[n] == sum(scores[k] >= t for k in impostors) / len(impostors)


def perfect(failing, genuine=200, impostors=50):
    """Genuine pairs of which some fail, and a quality that knows which."""
    scores = np.concatenate(
        [np.ones(genuine - failing), np.zeros(failing), np.full(impostors, 0.5)]
    )
    same = np.arange(len(scores)) < genuine
    return scores, same, scores + np.arange(len(scores)) * 1e-6


def test_perfect_quality_removes_failures_one_by_one():
    """From f of all, (f - r) / (1 - r) of the pairs left fail, and none from r = f on."""
    scores, same, quality = perfect(failing=40)
    rates = np.arange(0.0, 0.5, 0.05)
    curve = discard.fnmr(scores, same, quality, fmr=0.02, share_of="genuine", rates=rates)
    np.testing.assert_allclose(curve.value, np.maximum(0.2 - rates, 0.0) / (1.0 - rates))
    fine = np.linspace(0.0, 0.5, 101)
    curve = discard.fnmr(scores, same, quality, fmr=0.02, share_of="genuine", rates=fine)
    # The integral of (f - r) / (1 - r) from 0 to f is f + (1 - f) log(1 - f).
    assert area(curve) == pytest.approx((0.2 + 0.8 * np.log(0.8)) / 0.5, abs=1e-4)
    assert area(curve, relative=True) == pytest.approx(area(curve) / 0.2)


@pytest.mark.parametrize("share_of", ["all", "genuine"])
def test_random_quality_changes_nothing_on_average(share_of):
    scores, same, _ = draw(4000, 1)
    rng = np.random.default_rng(2)
    curves = [
        discard.fnmr(
            scores, same, rng.random(4000), fmr=0.05, share_of=share_of, rates=[0.0, 0.3, 0.6]
        )
        for _ in range(60)
    ]
    values = np.array([curve.value for curve in curves])
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - values[0, 0])[1:] < 4.0 * error[1:]).all()
    assert np.mean([area(c, relative=True) for c in curves]) == pytest.approx(1.0, abs=0.01)


def test_constant_quality_discards_nothing():
    scores, same, _ = draw(100)
    curve = discard.fnmr(scores, same, np.ones(100), fmr=0.1)
    assert (curve.left == 100).all()
    assert (curve.value == curve.value[0]).all()
    assert area(curve, relative=True) == pytest.approx(1.0)
    assert curve.rate.tolist() == list(discard.RATES)


@pytest.mark.parametrize("threshold", ["fixed", "repicked"])
def test_curve_does_not_depend_on_the_order_of_the_list(threshold):
    scores, same, quality = draw(300, 3, 0)
    turned = np.random.default_rng(4).permutation(300)
    for measure, options in ((discard.fnmr, {"fmr": 0.1}), (discard.accuracy, {})):
        one = measure(scores, same, quality, threshold=threshold, rates=[0.0, 0.2, 0.6], **options)
        other = measure(
            scores[turned], same[turned], quality[turned], threshold=threshold,
            rates=[0.0, 0.2, 0.6], **options,
        )  # fmt: skip
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_rules_differ_where_bad_impostor_pairs_score_high():
    """Two impostor pairs of low quality score high; without them a low threshold suffices."""
    scores = [0.9, 0.5, 0.4, 0.3, 0.8, 0.75, 0.2, 0.15, 0.1]
    same, quality = [True] * 4 + [False] * 5, [9, 8, 7, 6, 0, 1, 5, 4, 3]
    for rule, value in (("fixed", [0.75, 0.75]), ("repicked", [0.75, 0.0])):
        curve = discard.fnmr(scores, same, quality, fmr=0.34, threshold=rule, rates=[0.0, 0.25])
        assert curve.value.tolist() == value


def test_pair_quality_is_the_lower_one():
    assert discard.pair_quality([1.0, 5.0], [2.0, 3.0]).tolist() == [1.0, 3.0]


def people(count=15, seed=0):
    """Genuine and impostor pairs of a few people, with their identities."""
    rng = np.random.default_rng(seed)
    one = rng.integers(count, size=400)
    other = np.where(
        rng.random(400) < 0.5, one, (one + 1 + rng.integers(count - 1, size=400)) % count
    )
    same = one == other
    quality = rng.normal(size=400)
    return rng.normal(2.0 * same + quality * same), same, quality, (one, other)


def test_resampled_areas_spread_around_the_area_of_all_pairs():
    scores, same, quality, identities = people()
    rates = (0.0, 0.25, 0.5)
    whole = area(discard.fnmr(scores, same, quality, fmr=0.1, rates=rates), relative=True)
    areas = resampled_areas(
        scores, same, quality, identities, fmr=0.1, rates=rates, relative=True, replicates=200
    )
    low, high = np.percentile(areas, [2.5, 97.5])
    assert low < whole < high
    # A quality that knows the failures has a lower area than none, in every draw alike.
    nothing = resampled_areas(
        scores, same, np.zeros(400), identities, fmr=0.1, rates=rates, relative=True, replicates=200
    )
    np.testing.assert_allclose(nothing, 1.0)
    assert high < 1.0


def test_resampled_areas_weigh_pairs_like_copies_of_them():
    scores, same, quality, identities = people(seed=2)
    rates = (0.0, 0.3, 0.6)
    weights = _people(*identities, np.arange(400), same)(np.random.default_rng(7), 1)[0]
    rows = np.repeat(np.arange(400), weights.astype(int))
    for rule in ("fixed", "repicked"):
        copied = discard.fnmr(
            scores[rows], same[rows], quality[rows], fmr=0.1, threshold=rule, rates=rates
        )
        (drawn,) = resampled_areas(
            scores, same, quality, identities, fmr=0.1, threshold=rule, rates=rates, replicates=1,
            seed=7,
        )  # fmt: skip
        assert drawn == pytest.approx(area(copied))


def test_resampled_area_is_nan_where_nothing_fails():
    _, same, quality, identities = people()
    areas = resampled_areas(
        same.astype(float), same, quality, identities, fmr=0.1, relative=True, replicates=3,
        rates=(0.0, 0.5),
    )  # fmt: skip
    assert np.isnan(areas).all()


FOUR = ([0.9, 0.4, 0.3, 0.2], [True, True, False, False], [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": [1.0, np.nan, 3.0, 4.0]}, "the quality of pair 1 is NaN"),
        ({"quality": [1.0, 2.0]}, "quality must have shape (4,), got (2,)"),
        ({"scores": [0.9, 0.4, np.nan, 0.2]}, "the score of pair 2 is NaN"),
        ({"same": [True] * 4}, "all 4 pairs are genuine, but both kinds are needed"),
        ({"rates": [0.5, 0.1]}, "rates must ascend within [0, 1), got [0.5, 0.1]"),
        ({"rates": [0.0, 1.0]}, "rates must ascend within [0, 1), got [0.0, 1.0]"),
        ({"rates": []}, "rates must ascend within [0, 1), got []"),
        ({"rates": [np.nan]}, "rates must ascend within [0, 1), got [nan]"),
        ({"fmr": 0.1}, "a FAR of 0.1 cannot be measured with 2 impostor pairs"),
        ({"threshold": "moving"}, "threshold must be 'fixed' or 'repicked', got 'moving'"),
        ({"share_of": "some"}, "share_of must be 'all' or 'genuine', got 'some'"),
        ({"share_of": "genuine", "threshold": "repicked"}, "there is no threshold to repick"),
        ({"rates": [0.5]}, "at a discard rate of 0.5 no genuine pair is left"),
        (
            {"quality": [4.0, 3.0, 1.0, 2.0], "rates": [0.5], "threshold": "repicked"},
            "at a discard rate of 0.5 no impostor pair is left",
        ),
        (
            {"quality": [4.0, 3.0, 1.0, 2.0], "rates": [0.25], "threshold": "repicked"},
            "at a discard rate of 0.25, a FAR of 0.5 cannot be measured with 1 impostor pairs",
        ),
    ],
)  # fmt: skip
def test_fnmr_refuses_in_one_sentence(changes, message):
    scores, same, quality = FOUR
    given = {
        "scores": scores,
        "same": same,
        "quality": quality,
        "fmr": 0.5,
        "rates": [0.0],
        **changes,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        discard.fnmr(**given)


def test_fmr_without_impostor_pairs_left_is_nan():
    scores, same, _ = FOUR
    curve = discard.fnmr(scores, same, [3, 4, 1, 2], fmr=0.5, rates=[0.0, 0.5])
    assert curve.fmr[0] == 0.5
    assert np.isnan(curve.fmr[1])


def test_accuracy_refuses_one_kind_of_pairs():
    scores, same, _ = FOUR
    with pytest.raises(ValueError, match=r"at a discard rate of 0\.5 all 2 pairs left are of one"):
        discard.accuracy(scores, same, [1, 2, 3, 4], threshold="repicked", rates=[0.5])


def test_area_refuses_one_rate_and_a_first_value_of_zero():
    scores, same, quality = FOUR
    with pytest.raises(ValueError, match="an area needs two or more rates, got 1"):
        area(discard.fnmr(scores, same, quality, fmr=0.5, rates=[0.0]))
    curve = discard.fnmr([0.9, 0.8, 0.1, 0.2], same, quality, fmr=0.5, rates=[0.0, 0.25])
    with pytest.raises(ValueError, match="a relative area needs a first value other than 0"):
        area(curve, relative=True)


def test_pair_quality_refuses_other_shapes_and_nan():
    with pytest.raises(ValueError, match=r"must both have shape \(p,\), got \(2,\) and \(3,\)"):
        discard.pair_quality([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="the quality of pair 1 is NaN"):
        discard.pair_quality([1.0, np.nan], [1.0, 2.0])
