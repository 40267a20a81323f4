import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from cdmllab.metrics import bootstrap
from cdmllab.metrics import calibration as c


def draw(n=4000, seed=0, decimals=6):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.3
    return np.round(rng.normal(np.where(same, 0.5, 0.1), 0.15), decimals), same


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (12, 6000), (5999, 6000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipy(k, n, confidence):
    want = binomtest(k, n).proportion_ci(confidence, method="wilson")
    got = c.wilson(k, n, confidence)
    np.testing.assert_allclose(got, (k / n, want.low, want.high, n), atol=1e-12)
    assert k > 0 or got.low == 0.0
    assert k < n or got.high == 1.0


def test_intervals_of_rates_default_to_95_percent():
    assert c.wilson(3, 7) == c.wilson(3, 7, 0.95)
    scores, same = draw(200)
    assert c.decide(scores, same, 0.3) == c.decide(scores, same, 0.3, 0.95)
    assert c.decide(scores, same, 0.3, 0.5).far == c.wilson(
        int((scores[~same] >= 0.3).sum()), int((~same).sum()), 0.5
    )


@pytest.mark.parametrize(
    ("k", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)]
)
def test_wilson_refuses_impossible_counts(k, n, confidence):
    with pytest.raises(ValueError, match=r"successes must|confidence must"):
        c.wilson(k, n, confidence)


@pytest.mark.parametrize("decimals", [1, 2, 6])
@pytest.mark.parametrize("far", [0.001, 0.01, 0.2, 1.0])
def test_threshold_is_the_lowest_that_keeps_the_requested_far(decimals, far):
    scores, same = draw(decimals=decimals)
    t = c.threshold_at_far(scores, same, far)
    impostor = scores[~same]
    assert (impostor >= t).mean() <= far
    lower = impostor[impostor < t]
    if len(lower):
        assert (impostor >= lower.max()).mean() > far


def test_threshold_is_between_two_impostors():
    scores, same = [0.1, 0.2, 0.4, 0.8, 0.9], [False] * 4 + [True]
    assert np.isclose(c.threshold_at_far(scores, same, 0.25), 0.6)
    assert np.isclose(c.threshold_at_far(scores, same, 0.74), 0.3)


def test_threshold_between_neighbouring_numbers_is_the_upper_one():
    """Their mean would be rounded down to the impostor that must be rejected."""
    upper = np.nextafter(1.0, 2.0)
    assert c.threshold_at_far([upper, 1.0, 0.5, 2.0], [False, False, False, True], 1 / 3) == upper


def test_threshold_above_tied_impostors_is_the_next_number():
    assert c.threshold_at_far([0.5, 0.5, 0.5, 0.1, 0.9], [False] * 4 + [True], 0.3) == np.nextafter(
        0.5, 1.0
    )
    assert c.threshold_at_far([0.5, 0.5, 0.5, 0.1, 0.9], [False] * 4 + [True], 1.0) == 0.1


def test_threshold_refuses_a_far_that_the_validation_pairs_cannot_resolve():
    with pytest.raises(ValueError, match="cannot be measured with 4 impostor pairs"):
        c.threshold_at_far([0.1, 0.2, 0.4, 0.8, 0.9], [False] * 4 + [True], 1e-3)


def test_requested_far_is_in_the_interval_on_other_pairs_of_the_same_kind():
    held = []
    for seed in range(100):
        t = c.threshold_at_far(*draw(seed=seed, n=40_000), 0.05)
        far = c.decide(*draw(seed=1000 + seed), t).far
        held.append(far.low <= 0.05 <= far.high)
    assert 88 <= sum(held) <= 100


def test_decide_counts_both_kinds_separately():
    got = c.decide([0.9, 0.2, 0.7, 0.6, 0.1], [True, True, False, False, False], 0.6)
    assert (got.far.value, got.far.pairs) == (2 / 3, 3)
    assert (got.tar.value, got.tar.pairs) == (0.5, 2)


def people_of(n=4000, seed=0):
    """Identities for pairs like those of `draw`: thirty people, each in very many pairs."""
    rng = np.random.default_rng(seed)
    same = draw(n, seed)[1]
    a = rng.integers(0, 30, n)
    return a, np.where(same, a, (a + rng.integers(1, 30, n)) % 30)


def test_rates_draw_people_and_are_never_narrower_than_wilson():
    scores, same = draw()
    who = people_of()
    scores = scores + np.where(
        same, 0.0, 0.3 * (who[0] % 10 == 0)
    )  # some people are taken for others
    plain, got = c.decide(scores, same, 0.4), c.decide(scores, same, 0.4, people=who)
    assert got.far.value == plain.far.value
    assert got.far.low < plain.far.low
    assert got.far.high > plain.far.high
    drawn = bootstrap.shares((scores >= 0.4)[~same], (who[0][~same], who[1][~same]))[0]
    assert got.far[1:3] == pytest.approx(
        (min(drawn.low, plain.far.low), max(drawn.high, plain.far.high)), rel=0.1
    )
    nobody = c.decide(scores, same, 9.0, people=who).far
    assert (
        nobody[:3] == c.decide(scores, same, 9.0).far[:3]
    )  # 0 of n: drawing people cannot show what never was
    assert nobody.high > 0.0


def test_rates_of_few_people_are_wilson():
    scores, same = draw(n=200)
    a = np.arange(200) % 9
    got = c.decide(scores, same, 0.4, people=(a, np.where(same, a, (a + 1) % 9)))
    assert got == c.decide(scores, same, 0.4)


def test_reliability_uses_the_people_of_a_pair():
    scores, same = draw()
    p = c.fit_calibrator(scores, same).probability(scores, prior=0.3)
    plain, got = c.reliability(p, same, 4), c.reliability(p, same, 4, people=people_of())
    np.testing.assert_array_equal(got.observed, plain.observed)
    assert ((got.low <= plain.low) & (got.high >= plain.high)).all()
    assert (got.high - got.low).sum() > (plain.high - plain.low).sum()


def test_calibrator_equals_scikit_learn():
    scores, same = draw()
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(scores[:, None], same, sample_weight=weight * len(scores))
    got = c.fit_calibrator(scores, same)
    assert np.isclose(got.slope, reference.coef_[0, 0], rtol=5e-3)
    assert np.isclose(got.offset, reference.intercept_[0], rtol=5e-3)


def test_calibrator_recovers_the_ratio_that_generated_the_scores():
    """Two normal distributions of one width: the log ratio is straight, slope (0.5 - 0.1) /
    0.15^2.
    """
    got = c.fit_calibrator(*draw(n=200_000))
    assert np.isclose(got.slope, 0.4 / 0.15**2, rtol=0.03)
    assert abs(float(got.log_likelihood_ratio(0.3))) < 0.05


def test_calibrator_of_scores_without_an_error_stays_finite():
    got = c.fit_calibrator([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert 0 < got.slope < 100
    assert np.isclose(got.log_likelihood_ratio(0.5), 0.0, atol=1e-6)


def test_probability_follows_the_prior():
    got = c.Calibrator(2.0, 0.0)
    np.testing.assert_allclose(got.probability(0.0, 0.01), 0.01)
    np.testing.assert_allclose(got.probability([-800.0, 800.0]), [0.0, 1.0], atol=1e-12)
    with pytest.raises(ValueError, match="prior"):
        got.probability(0.0, 0.0)


def test_calibrator_refuses_scores_that_are_all_the_same():
    with pytest.raises(ValueError, match=r"all 4 scores are 0\.5"):
        c.fit_calibrator([0.5] * 4, [True, True, False, False])


def test_reliability_of_honest_probabilities_is_near_the_diagonal():
    scores, same = draw(n=50_000)
    other = draw(n=50_000, seed=1)
    p = c.fit_calibrator(scores, same).probability(other[0], prior=0.3)
    got = c.reliability(p, other[1])
    assert got.error < 0.01
    assert got.pairs.tolist() == [5000] * 10
    assert (np.diff(got.stated) > 0).all()
    doubled = c.reliability(np.minimum(2 * p, 1.0), other[1])
    assert doubled.error > 0.07


@pytest.mark.parametrize(
    ("p", "bins", "message"),
    [([0.2, 1.2], 1, r"lie in \[0, 1\], got 0.2 to 1.2"), ([0.1, 0.2], 3, "cannot fill 3 bins")],
)
def test_invalid_arguments_of_reliability_are_named(p, bins, message):
    with pytest.raises(ValueError, match=message):
        c.reliability(p, [True, False], bins)


@pytest.mark.parametrize(("n", "share"), [(40, 0.2), (2000, 0.7)])
def test_calibrator_is_where_the_weighted_loss_is_flat(n, share):
    """Each kind weighs one half; the slope is regularised by 0.01 pairs."""
    rng = np.random.default_rng(n)
    same = np.arange(n) < share * n
    scores = rng.normal(np.where(same, 2.0, -1.0), 1.5)
    got = c.fit_calibrator(scores, same)
    error = got.probability(scores) - same
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    standard = (scores - scores.mean()) / scores.std()
    assert abs((weight * error).sum()) < 1e-9
    assert abs((weight * error * standard).sum() + 0.01 / n * got.slope * scores.std()) < 1e-9


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, np.nan])
def test_a_prior_is_a_probability_of_both_kinds(prior):
    with pytest.raises(ValueError, match="prior must lie strictly between 0 and 1"):
        c.Calibrator(1.0, 0.0).probability(0.0, prior)


def test_log_likelihood_ratio_is_a_straight_line():
    got = c.Calibrator(2.0, -3.0)
    assert got.log_likelihood_ratio([0.0, 1.5, 4.0]).tolist() == [-3.0, 0.0, 5.0]
    assert got.probability(1.5) == 0.5
    assert np.isclose(got.probability(2.0), 1.0 / (1.0 + np.exp(-1.0)))


def test_reliability_of_two_bins_equals_worked_values():
    got = c.reliability([0.9, 0.1, 0.7, 0.2, 0.3], [True, False, False, True, False], bins=2)
    np.testing.assert_allclose(got.stated, [0.2, 0.8])  # of 0.1, 0.2 and 0.3, and of 0.7 and 0.9
    np.testing.assert_allclose(got.observed, [1 / 3, 0.5])
    assert got.pairs.tolist() == [3, 2]
    for k, rate in enumerate((c.wilson(1, 3), c.wilson(1, 2))):
        assert (got.low[k], got.high[k]) == (rate.low, rate.high)
    assert np.isclose(got.error, (3 * (1 / 3 - 0.2) + 2 * 0.3) / 5)


def test_reliability_accepts_integer_probabilities_and_a_bin_for_each_pair():
    got = c.reliability([0.0, 1.0, 0.5], [False, True, True], bins=3)
    assert got.stated.tolist() == [0.0, 0.5, 1.0]
    assert got.observed.tolist() == [0.0, 1.0, 1.0]
    assert len(c.reliability(np.linspace(0, 1, 40), np.arange(40) % 2 == 0).pairs) == 10
    for p, bins in (([-0.1, 0.5], 1), ([0.1, 0.5], 0)):
        with pytest.raises(ValueError, match=r"probabilities lie in|cannot fill 0 bins"):
            c.reliability(p, [True, False], bins)


def test_reliability_keeps_tied_probabilities_in_list_order():
    rng = np.random.default_rng(0)
    p, same = rng.integers(0, 4, 600) / 4.0, rng.random(600) < 0.5
    in_order = sorted(range(600), key=lambda k: p[k])
    got = c.reliability(p, same, 7)
    parts = np.array_split(np.array(in_order), 7)
    np.testing.assert_allclose(got.observed, [same[part].mean() for part in parts])
    one_bin = c.reliability(p, same, 1)
    assert (one_bin.pairs.tolist(), one_bin.observed[0]) == ([600], same.mean())
