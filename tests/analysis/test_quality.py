"""Quality scores by hand, and partial rank correlations compared with regressions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from cdmllab.analysis import quality


def test_centre_cosines_take_the_nearest_centre_of_each_identity():
    centres = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.6, 0.8]]])  # [2, 2, 2]
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 5.0]])
    own, negative = quality.centre_cosines(embeddings, centres, torch.tensor([0, 1]))
    torch.testing.assert_close(own, torch.tensor([1.0, 0.8]))
    torch.testing.assert_close(negative, torch.tensor([0.6, 1.0]))


def test_certainty_ratio_is_that_of_the_paper():
    cosines = quality.CentreCosines(torch.tensor([0.8, 0.8, 0.1]), torch.tensor([0.0, 0.6, -0.5]))
    torch.testing.assert_close(
        quality.certainty_ratio(cosines), torch.tensor([0.8, 0.5, 0.2]), rtol=1e-6, atol=0.0
    )


def test_curricular_easiness_is_negative_where_a_negative_exceeds_the_margined_target():
    cosines = quality.CentreCosines(
        torch.tensor([math.cos(0.2), math.cos(0.2), -1.0]), torch.tensor([0.5, 0.9, 0.0])
    )
    got = quality.curricular_easiness(cosines, 0.5)
    want = [math.cos(0.7) - 0.5, math.cos(0.7) - 0.9, -1.0]  # past pi it stays at -1
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert (got < 0.0).tolist() == [False, True, True]


def factors(n=200, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    values = {"a": a, "b": a + 0.7 * b, "c": rng.integers(4, size=n).astype(float)}
    return a - 2.0 * values["b"] + 0.5 * rng.normal(size=n), values


def test_rank_correlations_are_spearmans():
    score, values = factors()
    got = quality.rank_correlations(score, values)
    for name, value in values.items():
        assert got[name] == pytest.approx(spearmanr(score, value).statistic)


def test_partial_correlations_are_those_of_residuals():
    score, values = factors()
    got = quality.partial_rank_correlations(score, values)
    for name, value in values.items():
        others = [rankdata(v) for key, v in values.items() if key != name]
        design = np.stack([np.ones(len(score)), *others], axis=1)
        left = [
            r - design @ np.linalg.lstsq(design, r, rcond=None)[0]
            for r in (rankdata(score), rankdata(value))
        ]
        assert got[name] == pytest.approx(np.corrcoef(left)[0, 1])
    # The plain correlation with a is negative, through b. With b fixed it is positive.
    assert quality.rank_correlations(score, values)["a"] < 0.0 < got["a"]


def test_partial_correlation_of_a_score_that_is_a_factor():
    _, values = factors()
    got = quality.partial_rank_correlations(values["a"], values)
    assert got["a"] == pytest.approx(1.0)
    assert abs(got["b"]) < 1e-4


def test_constants_have_no_correlation():
    score, values = factors()
    values["nothing"] = np.zeros(200)
    assert quality.rank_correlations(score, values)["nothing"] == 0.0
    partial = quality.partial_rank_correlations(score, values)
    assert partial.pop("nothing") == 0.0
    assert partial == pytest.approx(quality.partial_rank_correlations(score, factors()[1]))
    assert set(quality.partial_rank_correlations(np.ones(200), values).values()) == {0.0}


@pytest.mark.parametrize(
    ("score", "values", "message"),
    [
        ([1.0, 2.0], {}, r"score must have shape \(n,\) with n at least 3, got \(2,\)"),
        ([1.0, 2.0, 3.0], {"yaw": [1.0]}, r"yaw must have shape \(3,\), got \(1,\)"),
        ([1.0, np.nan, 3.0], {"yaw": [1.0, 2.0, 3.0]}, "score of image 1 is nan"),
        ([1.0, 2.0, 3.0], {"yaw": [1.0, 2.0, np.inf]}, "yaw of image 2 is inf"),
        (
            [1.0, 2.0, 4.0, 3.0],
            {"yaw": [1.0, 2.0, 3.0, 4.0], "pitch": [2.0, 4.0, 6.0, 8.0]},
            "the ranks of some factors determine each other",
        ),
    ],
)
def test_correlations_refuse_in_one_sentence(score, values, message):
    with pytest.raises(ValueError, match=message):
        quality.partial_rank_correlations(score, values)


def test_intervals_over_people_are_wider_than_over_images_that_repeat():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 10)
    values = np.repeat(rng.normal(size=20), 10)  # all images of a person are alike

    def mean(rows, _):
        return [values[rows].mean(), 1.0]

    by_people = quality.over_people(mean, people)
    by_image = quality.over_people(mean, np.arange(200))
    assert by_people.value[0] == by_image.value[0] == values.mean()
    assert by_people.low[0] < values.mean() < by_people.high[0]
    widths = [float(e.high[0] - e.low[0]) for e in (by_people, by_image)]
    assert 2.0 < widths[0] / widths[1] < 5.0  # about the root of 10
    assert by_people.low[1] == by_people.high[1] == 1.0
    again = quality.over_people(mean, people)
    assert (again.low == by_people.low).all()
    # A percentile interval of 50 % is narrower.
    half = quality.over_people(mean, people, confidence=0.5)
    assert half.high[0] - half.low[0] < 0.5 * widths[0]


def test_an_interval_needs_two_people():
    with pytest.raises(ValueError, match="needs two or more of them, got 1"):
        quality.over_people(lambda rows, drawn: [0.0], np.zeros(5))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("images", [[5] * 400, [2] * 200 + [8] * 200])
def test_person_share_recovers_the_share_of_a_simulation(share, images):
    people = np.repeat(np.arange(len(images)), images)
    rng = np.random.default_rng(1)
    of_person = rng.normal(size=len(images)) * np.sqrt(share)
    score = of_person[people] + rng.normal(size=len(people)) * np.sqrt(1.0 - share)
    assert quality.person_share(score, people) == pytest.approx(share, abs=0.06)


def test_person_share_at_its_ends():
    people = [0, 0, 1, 1]
    assert quality.person_share([1.0, 1.0, 3.0, 3.0], people) == 1.0
    assert quality.person_share([1.0, 3.0, 1.0, 3.0], people) == 0.0
    assert quality.person_share([1.0, 1.0, 1.0, 1.0], people) == 0.0
    with pytest.raises(ValueError, match="several images, got 2 and 2"):
        quality.person_share([1.0, 2.0], [0, 1])


def test_somebody_drawn_twice_counts_as_two_persons():
    """Otherwise the copies of an image would make its person look steadier than they are."""
    people = np.repeat(np.arange(100), 5)
    score = np.random.default_rng(2).normal(size=500)
    share = quality.over_people(
        lambda rows, drawn: [quality.person_share(score[rows], drawn)], people
    )
    assert share.low[0] <= share.value[0] <= share.high[0] < 0.15
