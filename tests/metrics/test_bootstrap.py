import warnings

import numpy as np
import pytest

from cdmllab.metrics import bootstrap, nearest_far, ranked, weighted
from cdmllab.metrics import verification as v
from cdmllab.metrics.calibration import wilson


def world(seed, people=40, genuine=6, impostor=400, effect=0.7):
    """Pairs of people some of whom are hard: a person shifts the scores of all their pairs."""
    rng = np.random.default_rng(seed)
    hard = effect * rng.normal(size=people)
    a = np.concatenate([np.repeat(np.arange(people), genuine), rng.integers(0, people, impostor)])
    b = np.concatenate([np.repeat(np.arange(people), genuine), rng.integers(1, people, impostor)])
    b[people * genuine :] = (a[people * genuine :] + b[people * genuine :]) % people
    same = a == b
    scores = np.where(same, 1.5 - hard[a], 0.7 * (hard[a] + hard[b])) + 0.7 * rng.normal(
        size=len(a)
    )
    return scores, same, a, b, rng.integers(0, 5, len(a))


def falling(scores, *others):
    order = np.argsort(-scores, kind="stable")
    return scores[order], *(other[order] for other in others)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [1, 6])
def test_measures_with_weights_of_one_equal_the_plain_ones(seed, decimals):
    scores, same, _, _, fold = world(seed)
    scores, same, fold = falling(np.round(scores, decimals), same, fold)
    ones = np.ones((2, len(scores)))
    got = weighted.WeightedCurve(scores, same).measures(ones, (0.01, 0.1))
    want = {"auc": v.auc(scores, same), "eer": v.eer(scores, same)}
    want |= {f"tar@{far:g}": v.tar_at_far(scores, same, far) for far in (0.01, 0.1)}
    both = ranked.rank(scores, same)
    want |= {f"nearest_tar@{far:g}": nearest_far.tar_at_far(both, far).tar for far in (0.01, 0.1)}
    assert got.keys() == want.keys() | {"threshold@0.01", "threshold@0.1"}
    for name, value in want.items():
        np.testing.assert_allclose(got[name], [value, value])
    for far in (0.01, 0.1):
        threshold = got[f"threshold@{far:g}"][0]
        assert threshold == ranked.lowest_accepted(ranked.rank(scores, same), far)
        accepted = scores >= threshold
        assert np.isclose(accepted[same].mean(), want[f"tar@{far:g}"])
        assert accepted[~same].mean() <= far
    folds = weighted.Folds(scores, same, fold)
    np.testing.assert_allclose(folds.accuracy(ones), v.fold_accuracy(scores, same, fold).mean)


def test_threshold_lies_above_all_scores_where_the_best_impostors_tie():
    scores, same = np.array([2.0, 2.0, 1.0, 0.0]), np.array([False, False, True, False])
    got = weighted.WeightedCurve(scores, same).measures(np.ones((1, 4)), (1 / 3,))
    assert (got["tar@0.333333"][0], got["threshold@0.333333"][0]) == (0.0, np.nextafter(2.0, 3.0))
    assert ranked.lowest_accepted(ranked.rank(scores, same), 1 / 3) == np.nextafter(2.0, 3.0)


def test_whole_weights_equal_repeated_pairs():
    scores, same, *_ = world(1)
    scores, same = falling(np.round(scores, 1), same)
    w = np.random.default_rng(5).integers(0, 4, len(scores))
    got = weighted.WeightedCurve(scores, same).measures(w[None].astype(float), (0.02,))
    repeated = np.repeat(scores, w), np.repeat(same, w)
    assert np.isclose(got["auc"][0], v.auc(*repeated))
    assert np.isclose(got["eer"][0], v.eer(*repeated))
    assert np.isclose(got["tar@0.02"][0], v.tar_at_far(*repeated, 0.02))


def test_a_thinned_curve_is_exact_at_its_top_and_near_below(monkeypatch):
    scores, same = falling(*world(1, impostor=20_000)[:2])
    monkeypatch.setattr(weighted, "_EXACT", 1000)
    monkeypatch.setattr(weighted, "_STEPS", 500)
    got = weighted.WeightedCurve(scores, same).measures(np.ones((1, len(scores))), (1e-3, 1e-2))
    for far in (1e-3, 1e-2):
        assert got[f"tar@{far:g}"][0] == v.tar_at_far(scores, same, far)
        assert (
            got[f"nearest_tar@{far:g}"][0]
            == nearest_far.tar_at_far(ranked.rank(scores, same), far).tar
        )
    assert np.isclose(got["auc"][0], v.auc(scores, same), atol=1e-4)
    assert np.isclose(got["eer"][0], v.eer(scores, same), atol=3e-3)


def test_a_draw_of_people_weighs_each_pair_by_its_people(monkeypatch):
    """A person drawn w times: w copies of each genuine pair, w1 x w2 copies of each
    impostor pair.
    """
    scores, same, a, b, _ = world(2)
    seen = []
    measures = weighted.WeightedCurve.measures
    monkeypatch.setattr(
        weighted.WeightedCurve,
        "measures",
        lambda self, w, fars: seen.append(w) or measures(self, w, fars),
    )
    bootstrap.intervals(scores, same, identities=(a, b), replicates=50)
    (w,) = seen
    _, same, a, b = falling(scores, same, a, b)
    for row in w:
        times = np.zeros(40)
        times[a[same]] = row[same]
        assert times.sum() == 40
        np.testing.assert_array_equal(row[~same], times[a[~same]] * times[b[~same]])
    assert len({tuple(row) for row in w}) == 50


def coverage(identities):
    """The share of 80 % intervals that cover the AUC of all people, over 100 worlds."""
    truth = np.mean([v.auc(*world(10_000 + s, people=2000, impostor=40_000)[:2]) for s in range(5)])
    held = 0
    for seed in range(100):
        scores, same, a, b, _ = world(seed, people=100, impostor=1000)
        who = (a, b) if identities else None
        got = bootstrap.intervals(
            scores, same, identities=who, replicates=200, confidence=0.8, seed=seed
        )["auc"]
        held += got.low <= truth <= got.high
    return held / 100


def test_intervals_over_identities_cover_the_truth_and_those_over_pairs_do_not():
    assert 0.68 <= coverage(identities=True) <= 0.92
    assert coverage(identities=False) < 0.5


def test_portions_of_replicates_change_nothing(monkeypatch):
    scores, same, a, b, fold = world(3)
    in_one = bootstrap.intervals(scores, same, fold, identities=(a, b), fars=(0.1,), replicates=30)
    monkeypatch.setattr(bootstrap, "_CELLS", 7 * len(scores))
    assert (
        bootstrap.intervals(scores, same, fold, identities=(a, b), fars=(0.1,), replicates=30)
        == in_one
    )
    assert in_one.keys() == {
        "auc",
        "eer",
        "tar@0.1",
        "nearest_tar@0.1",
        "threshold@0.1",
        "accuracy",
    }


def test_interval_contains_its_share_of_the_replicates():
    scores, same, a, b, _ = world(4)
    narrow, wide = (
        bootstrap.intervals(scores, same, identities=(a, b), replicates=300, confidence=share)[
            "auc"
        ]
        for share in (0.5, 0.95)
    )
    assert wide.low < narrow.low < v.auc(scores, same) < narrow.high < wide.high
    assert wide.sd == narrow.sd


def test_draw_without_genuine_pairs_is_excluded():
    """One person of ten has all genuine pairs; a third of the draws lack them."""
    a = np.append(np.zeros(5, int), np.arange(9))
    b = np.append(np.zeros(5, int), np.arange(9) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = bootstrap.intervals(np.arange(14.0), a == b, identities=(a, b), replicates=100)["auc"]
    assert np.isfinite(got).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"identities": (np.zeros(640, int), np.zeros(640, int))},
            "pair 240 is impostor, but its identities are 0",
        ),
        (
            {"identities": (np.arange(640), np.arange(640) + 1)},
            "pair 0 is genuine, but its identities are 0 and 1",
        ),
        ({"identities": ([1, 2], [1, 3])}, r"identities must have shape \(640,\)"),
        ({"fars": (1e-4,)}, "cannot be measured with 400 impostor pairs"),
        ({"replicates": 1}, "replicates must be 2 or more"),
        ({"confidence": 1.0}, r"confidence in \(0, 1\)"),
    ],
)
def test_invalid_arguments_of_intervals_are_named(change, message):
    scores, same, a, b, _ = world(0)
    with pytest.raises(ValueError, match=message):
        bootstrap.intervals(scores, same, **({"identities": (a, b)} | change))


def test_intervals_refuse_too_few_people():
    scores, same, a, b, _ = world(0, people=9)
    with pytest.raises(ValueError, match="needs at least 10 identities, got 9"):
        bootstrap.intervals(scores, same, identities=(a, b))


def clustered(seed, people=60, each=40):
    """Impostor pairs of which some people's are accepted far more often; and the share over very
    many such people.
    """
    rng = np.random.default_rng(seed)
    a = np.repeat(np.arange(people), each)
    b = (a + rng.integers(1, people, len(a))) % people
    chance = rng.choice([0.02, 0.5], size=people, p=[0.8, 0.2])
    return rng.random(len(a)) < (chance[a] + chance[b]) / 2, a, b


def test_shares_of_parts_equal_measuring_each_draw():
    hit, a, b = clustered(0, people=12, each=9)
    b[::4] = a[::4]  # genuine pairs count a drawn person once
    part = np.arange(len(a)) % 3
    got = bootstrap.shares(hit, (a, b), part, replicates=50, seed=3)
    drawn = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=50)
    for k in range(3):
        values = []
        for times in drawn:
            weights = [times[x] * (1 if x == y else times[y]) for x, y in zip(a, b, strict=True)]
            mine = np.array(weights) * (part == k)
            values.append((mine * hit).sum() / mine.sum())
        np.testing.assert_allclose(got[k][:2], np.percentile(values, [2.5, 97.5]))
        assert got[k].sd == pytest.approx(np.std(values, ddof=1))


def test_shares_over_people_cover_the_truth_where_pairs_do_not():
    """The share behind the pairs is 0.8 x 0.02 + 0.2 x 0.5 = 0.116."""
    held = {"people": 0, "pairs": 0}
    for seed in range(60):
        hit, a, b = clustered(seed)
        low, high, _ = bootstrap.shares(hit, (a, b), replicates=200, seed=seed)[0]
        held["people"] += low <= 0.116 <= high
        plain = wilson(int(hit.sum()), len(hit))
        held["pairs"] += plain.low <= 0.116 <= plain.high
    assert held["people"] >= 53
    assert held["pairs"] <= 45


def test_shares_exclude_draws_without_anyone_of_a_part():
    hit, a, b = clustered(0)
    part = np.where(a == 0, 1, 0)  # the pairs of one person: a draw in three lacks them
    low, high, _ = bootstrap.shares(hit, (a, b), part, replicates=100)[1]
    assert 0.0 <= low <= high <= 1.0


def test_invalid_arguments_of_shares_are_named():
    with pytest.raises(ValueError, match="needs at least 10 identities, got 2"):
        bootstrap.shares([True, False], ([0, 1], [1, 0]))
    with pytest.raises(ValueError, match="must have the same shape"):
        bootstrap.shares([True], ([0, 1], [1, 0]))


def weights_seen(monkeypatch, **options):
    seen = []
    measures = weighted.WeightedCurve.measures
    monkeypatch.setattr(
        weighted.WeightedCurve,
        "measures",
        lambda self, w, fars: seen.append(w) or measures(self, w, fars),
    )
    scores, same, a, b, _ = world(2)
    bootstrap.intervals(scores, same, **({"identities": (a, b)} | options))
    return np.concatenate(seen)


def test_a_draw_of_pairs_weighs_each_by_how_often_it_was_drawn(monkeypatch):
    w = weights_seen(monkeypatch, identities=None, replicates=60)
    assert w.shape == (60, 640)
    assert (w.sum(axis=1) == 640).all()  # as many draws as pairs
    assert (w == np.floor(w)).all()
    assert w.max(axis=0).min() >= 1  # the first and the last pair are drawn too
    assert 0.9 < w.var() < 1.1  # a Poisson count of mean 1, all but


def test_number_of_replicates_does_not_depend_on_the_portions(monkeypatch):
    for cells in (1, 640 * 7, 640 * 20, 4_000_000):
        monkeypatch.setattr(bootstrap, "_CELLS", cells)
        assert len(weights_seen(monkeypatch, replicates=20)) == 20


def test_intervals_are_percentiles_over_the_replicates(monkeypatch):
    measured = []
    measures = weighted.WeightedCurve.measures

    def spy(self, w, fars):
        measured.append(measures(self, w, fars))
        return measured[-1]

    monkeypatch.setattr(weighted.WeightedCurve, "measures", spy)
    scores, same, a, b, _ = world(1)
    got = bootstrap.intervals(
        scores, same, identities=(a, b), fars=(0.1,), replicates=40, confidence=0.8
    )
    (values,) = measured
    assert got.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(
            got[name], [*np.percentile(value, [10, 90]), np.std(value, ddof=1)]
        )


def test_intervals_default_to_95_percent_of_a_thousand_draws_with_seed_0():
    scores, same, a, b, _ = world(0, people=12, genuine=2, impostor=30)
    options = {"identities": (a, b), "fars": (0.1,)}
    spelt_out = bootstrap.intervals(
        scores, same, **options, replicates=1000, confidence=0.95, seed=0
    )
    assert bootstrap.intervals(scores, same, **options) == spelt_out
    assert bootstrap.intervals(scores, same, **options, seed=1) != spelt_out


def test_ten_people_and_two_replicates_are_enough():
    scores, same, a, b, _ = world(0, people=10)
    got = bootstrap.intervals(scores, same, identities=(a, b), replicates=2)["auc"]
    assert got.low < got.high
    with pytest.raises(ValueError, match=r"confidence in \(0, 1\), got 2 and 0"):
        bootstrap.intervals(scores, same, identities=(a, b), replicates=2, confidence=0.0)


def test_the_first_pair_that_contradicts_its_identities_is_named():
    scores, same, a, b, _ = world(0)
    a, b = a.copy(), b.copy()
    a[[5, 20, 300]] = 99
    with pytest.raises(ValueError, match="pair 5 is genuine, but its identities are 99 and 0"):
        bootstrap.intervals(scores, same, identities=(a, b))


def test_folds_of_repeated_pairs_equal_their_weights():
    """With a weight of one or more each pair keeps its threshold, so that the two choose
    the same.
    """
    rng = np.random.default_rng(3)
    for seed in range(4):
        scores, same, _, _, fold = world(seed, impostor=260)
        scores, same, fold = falling(np.round(scores, 1), same, fold)
        w = rng.integers(1, 4, len(scores))
        folds = weighted.Folds(scores, same, fold)
        want = v.fold_accuracy(*(np.repeat(values, w) for values in (scores, same, fold))).mean
        assert np.isclose(folds.accuracy(w[None].astype(float))[0], want)


def test_fold_without_weight_is_excluded_from_the_mean():
    scores, same, _, _, fold = world(1)
    scores, same, fold = falling(np.round(scores, 1), same, fold)
    kept = fold != 2
    got = weighted.Folds(scores, same, fold).accuracy(kept[None].astype(float))[0]
    assert np.isclose(got, v.fold_accuracy(scores[kept], same[kept], fold[kept]).mean)


def test_eer_of_weights_that_separate_the_kinds_is_zero_or_one():
    scores, same = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    got = weighted.WeightedCurve(scores, same).measures(
        np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0] * 4])
    )
    assert got["eer"].tolist() == [0.0, 1.0, 0.5]
    assert got["auc"].tolist() == [1.0, 0.0, 0.75]


def folds_one_by_one(scores, same, fold, w):
    """Fold by fold: every threshold between two scores of the others, above all and at the lowest;
    the middle best.
    """
    accuracies = []
    for k in np.unique(fold):
        rest, own = fold != k, fold == k
        values = np.unique(scores[rest])[::-1]
        thresholds = [np.inf, *((values[:-1] + values[1:]) / 2.0), values[-1]]
        gains = [(w * np.where(same, 1.0, -1.0))[rest & (scores >= t)].sum() for t in thresholds]
        best = [t for t, gain in zip(thresholds, gains, strict=True) if gain == max(gains)]
        right = (scores >= best[len(best) // 2]) == same
        if w[own].sum() > 0:
            accuracies.append((w * right)[own].sum() / w[own].sum())
    return np.mean(accuracies)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_weighted_accuracy_over_folds_equals_a_worked_value(share):
    """Where nearly all pairs are impostors it is best to accept none, where nearly all are genuine
    to accept all.
    """
    rng = np.random.default_rng(int(100 * share))
    for _ in range(40):
        scores, same = np.sort(rng.integers(0, 12, 24) / 2.0)[::-1], rng.random(24) < share
        fold, w = rng.permutation(np.arange(24) % 8), rng.integers(0, 3, (4, 24)).astype(float)
        got = weighted.Folds(scores, same, fold).accuracy(w)
        np.testing.assert_allclose(got, [folds_one_by_one(scores, same, fold, row) for row in w])


def test_shares_draw_a_thousand_replicates_unless_told_otherwise():
    hit, a, b = clustered(0)
    got, (want,), (more,) = (
        bootstrap.shares(hit, (a, b), **options)
        for options in ({}, {"replicates": 1000}, {"replicates": 1001})
    )
    assert got == [want] != [more]


def test_thresholds_below_the_highest_scores_are_thinned_without_gap_or_repetition(monkeypatch):
    monkeypatch.setattr(weighted, "_EXACT", 3)
    monkeypatch.setattr(weighted, "_STEPS", 2)
    falling = np.arange(8.0)[::-1]
    curve = weighted.WeightedCurve(falling, falling > 3.0)
    # All of the first three, and every second of the other five.
    assert curve._starts.tolist() == [0, 1, 2, 3, 5, 7]
