import numpy as np
import pytest
import torch

from cdmllab import faces
from cdmllab.faces import difficulty
from cdmllab.faces.difficulty import STRENGTHS, Responses


def responses(**lost):
    zero = np.zeros(len(STRENGTHS))
    return Responses(
        {name: np.asarray(lost.get(name, zero), dtype=float) for name in faces.FACTORS}, 1
    )


def test_difficulty_is_the_sum_over_nuisances():
    measured = responses(yaw=[0, 0.1, 0.2, 0.3, 0.4, 0.5], age=[0, 0, 0, 0, 0, 1])
    n = faces.nuisances(
        0,
        torch.arange(3),
        torch.zeros(3, dtype=torch.int64),
        yaw=torch.tensor([0.0, -45.0, 90.0]),
        age=torch.tensor([0.0, 0.9, 0.0]),
    )
    np.testing.assert_allclose(measured.difficulty(n), [0.0, 0.25 + 0.5, 0.5], atol=1e-6)


def test_variance_shares_add_up_and_name_the_factor_that_varies():
    """Yaw costs up to 0.5, restyling 0.1 whenever it occurs, and all else costs nothing."""
    world = faces.FaceWorld(40, 10, size=32, strength=1.0, seed=0)
    measured = responses(yaw=[0, 0.1, 0.2, 0.3, 0.4, 0.5], restyling=[0, 0.1, 0.1, 0.1, 0.1, 0.1])
    rows = np.arange(0, 400, 2)
    shares = difficulty.variance_shares(world, rows, measured)
    assert list(shares)[:2] == ["yaw", "restyling"]
    assert sum(shares.values()) == pytest.approx(1.0)
    n = world.nuisances(rows)
    yaw = 0.5 * n.values["yaw"].abs().double().numpy() / 90.0
    total = measured.difficulty(n)
    assert shares["yaw"] == pytest.approx(np.cov(yaw, total)[0, 1] / np.var(total, ddof=1))
    assert shares["blur"] == 0.0
    with pytest.raises(ValueError, match="all equally hard"):
        difficulty.variance_shares(world, rows, responses())


def test_restyling_explains_most_of_the_labs_difficulty():
    """As the book states: difficulty is mostly hair and beard, and pose comes far behind."""
    world = faces.FaceWorld(1_000, 16, size=32, strength=0.65, label_noise=0.03, seed=0)
    shares = difficulty.variance_shares(world, np.arange(2_000))
    assert list(shares)[:2] == ["restyling", "yaw"]
    assert shares["restyling"] == pytest.approx(0.53, abs=0.01)
    assert shares["yaw"] == pytest.approx(0.13, abs=0.01)
    assert shares["roll"] < 0.03


def grey(images):
    """Raw pixels as a network: they change if a face is turned, hidden or darkened."""
    x = images.astype(np.float64).mean(axis=3).reshape(len(images), -1)
    return x - x.mean(axis=1, keepdims=True)


def test_measured_responses_start_at_zero_and_grow_with_pose():
    measured = difficulty.measure(grey, size=32, people=12)
    assert set(measured.lost) == set(faces.FACTORS)
    assert measured.people == 12
    for lost in measured.lost.values():
        assert lost.shape == (len(STRENGTHS),)
        assert lost[0] == 0.0
    assert measured.lost["yaw"][-1] > measured.lost["yaw"][1] > 0.0
    assert measured.lost["yaw"][-1] > measured.lost["noise"][1]


def test_responses_round_trip_through_plain_values():
    measured = responses(blur=[0, 1, 2, 3, 4, 5])
    again = Responses.parse({name: lost.tolist() for name, lost in measured.lost.items()}, 1)
    np.testing.assert_array_equal(again.lost["blur"], measured.lost["blur"])


def test_easiness_is_even_by_rank_and_wrong_labels_are_hardest():
    e = difficulty.easiness([0.3, 0.1, 0.2, 0.9, 0.5])
    torch.testing.assert_close(e, torch.tensor([0.0, 1.0, 0.5, -1.0, -0.5]))
    wrong = difficulty.easiness([0.3, 0.1, 0.2, 0.9, 0.5], [False, True, False, False, False])
    assert wrong[1] == -1.0
    assert wrong[2] == 1.0


def test_rank_correlation_and_auc_reach_their_extremes():
    truth = np.linspace(0, 1, 50)
    assert difficulty.rank_correlation(truth**3, truth) == pytest.approx(1.0)
    assert difficulty.rank_correlation(-truth, truth) == pytest.approx(-1.0)
    # A constant score orders nothing.
    assert difficulty.rank_correlation(np.ones_like(truth), truth) == 0.0
    wrong = np.arange(50) >= 40
    assert difficulty.mislabel_auc(truth, wrong) == 1.0
    assert difficulty.mislabel_auc(np.ones(50), wrong) == 0.5


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: difficulty.rank_correlation([1, 2], [1, 2]), "n at least 3"),
        (
            lambda: difficulty.rank_correlation([1, np.nan, 2], [1, 2, 3]),
            "the score of image 1 is nan",
        ),
        (lambda: difficulty.mislabel_auc([1, 2, 3], [0, 0, 0]), "got only one kind"),
    ],
)
def test_invalid_scores_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
