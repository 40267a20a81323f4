"""Power and verdicts of the power explorer, against scipy and against simulated experiments."""

import math

import numpy as np
import pytest
import traitlets
from scipy import stats

from cdmllab.book.widgets import Power
from cdmllab.results.paired import paired

ZEROS = np.zeros(100)
WORDS = {
    "different": "different",
    "small": "too small to matter",
    "equivalent": "equivalent",
    "inconclusive": "inconclusive",
}


@pytest.mark.parametrize(
    ("seeds", "effect", "sd", "bound"),
    [(3, 0.3, 0.3, 0.2), (8, 0.12, 0.12, 0.2), (20, 0.05, 0.2, 0.12)],
)
def test_verdicts_are_as_frequent_as_in_simulated_experiments(
    monkeypatch, seeds, effect, sd, bound
):
    # No verdict depends on the detectable difference, whose search takes most of the time.
    monkeypatch.setattr("scipy.optimize.brentq", lambda *_: 1.0)
    n = 2000
    samples = np.random.default_rng(seeds).normal(effect, sd, (n, seeds))
    seen = [paired(row, ZEROS[:seeds]).within(bound).verdict for row in samples]
    verdicts = Power(seeds=seeds, effect=effect, sd=sd, bound=bound).verdicts()
    assert sum(p > 0.04 for p in verdicts) >= 2  # the setting is no certainty
    for name, p in verdicts._asdict().items():
        share = np.mean([verdict == WORDS[name] for verdict in seen])
        assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 1e-3), name


@pytest.mark.parametrize("seeds", [2, 3, 5, 12, 40, 100])
def test_two_verdicts_together_are_the_power_of_students_test(seeds):
    for sd in (0.02, 0.3, 1.5):
        for effect in (0.0, 0.1, 0.7, 2.0):
            now = Power(seeds=seeds, sd=sd, effect=effect)
            verdicts, power = now.verdicts(), float(now.power(effect))
            assert verdicts.different + verdicts.small == pytest.approx(power, abs=1e-6)
            assert sum(verdicts) == pytest.approx(1.0)
            assert min(verdicts) > -1e-9


def test_detectable_difference_and_interval_are_those_of_a_comparison():
    now = Power(seeds=7, sd=0.25)
    sample = np.arange(7.0)
    sample *= 0.25 / sample.std(ddof=1)
    difference = paired(sample, ZEROS[:7])
    assert now.detectable() == pytest.approx(difference.detectable)
    assert now.half_widths()[0] == pytest.approx(difference.high - difference.mean)
    equivalence = difference.within(1.0)
    assert now.half_widths()[1] == pytest.approx(equivalence.high - difference.mean)


def test_drawn_experiments_are_normal_and_repeatable():
    now = Power(effect=0.4, sd=0.2, seeds=100)
    assert now.experiment() is None
    assert len(now.drawn()) == 0
    draws = np.array([Power(**{**now.state(), "draw": k}).drawn() for k in range(1, 101)])
    assert stats.kstest(((draws - 0.4) / 0.2).ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(draws)[np.triu_indices(100, 1)]).max() < 0.45
    few = Power(**{**now.state(), "draw": 3, "seeds": 5})
    np.testing.assert_array_equal(few.drawn(), draws[2, :5])  # further seeds are added at the end
    difference, equivalence = few.experiment()
    assert difference == paired(few.drawn(), ZEROS[:5])
    assert equivalence == difference.within(0.2)


def test_recorded_differences_become_examples():
    rng = np.random.default_rng(0)
    one, other = (paired(0.01 * rng.standard_normal(n), ZEROS[:n]) for n in (12, 3))
    now = Power.from_differences({"first": one, "losses": other}, effect=0.2, bound=0.25)
    assert [preset["label"] for preset in now.presets] == ["first", "losses"]
    assert (now.seeds, now.effect, now.bound) == (12, 0.2, 0.25)
    assert now.sd == now.presets[0]["sd"] == pytest.approx(100 * one.sd, abs=1e-4)
    assert now.presets[1]["seeds"] == 3
    assert Power.from_differences({"first": one}, effect=0.2, bound=0.25, seeds=40).seeds == 40


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ({"seeds": 3}, r"presets: \{'seeds': 3\} has no label"),
        ({"label": "a", "spread": 1.0}, "presets: 'a' sets spread; a preset can set effect, sd"),
        ({"label": "a", "sd": 3.0}, r"presets: 'a' sets sd to 3\.0, .* not be greater than 1\.5"),
        ({"label": "a", "seeds": 2.5}, "presets: 'a' sets seeds to 2.5"),
    ],
)
def test_examples_out_of_range_are_refused(preset, words):
    with pytest.raises(traitlets.TraitError, match=words):
        Power(presets=[preset])
