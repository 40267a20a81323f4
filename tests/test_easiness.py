import math

import pytest
import torch

from cdmllab import easiness


def test_gap_easiness_is_half_the_lead():
    e = easiness.easiness_from_gap(torch.tensor([1.0, 0.3, -1.0]), torch.tensor([-1.0, 0.3, 1.0]))
    torch.testing.assert_close(e, torch.tensor([1.0, 0.0, -1.0]))


def test_gap_easiness_restates_the_public_hardness():
    own, other = torch.rand(100) * 2 - 1, torch.rand(100) * 2 - 1
    hardness = 1 - (own - other)
    torch.testing.assert_close(1 - 2 * easiness.easiness_from_gap(own, other), hardness)


def test_angle_gap_easiness_restates_the_public_hardness():
    theta, other = torch.rand(200).double() * math.pi, torch.rand(200).double() * math.pi
    hardness = (math.pi / 2 - (other - theta)).clamp(0, math.pi / 3)
    e = easiness.easiness_from_angle_gap(torch.cos(theta), torch.cos(other))
    torch.testing.assert_close((1 - e) * math.pi / 6, hardness, atol=1e-7, rtol=0)


@pytest.mark.parametrize("pivot", [-0.4, 0.0, 0.5])
def test_recentre_keeps_the_ends_and_moves_the_middle(pivot):
    moved = easiness.recentre(torch.tensor([-1.0, pivot, 1.0]), pivot)
    torch.testing.assert_close(moved, torch.tensor([-1.0, 0.0, 1.0]))


def test_recentre_rejects_a_pivot_at_the_end():
    with pytest.raises(ValueError, match="strictly between"):
        easiness.recentre(torch.zeros(1), 1.0)


def test_class_easiness_is_an_average_that_moves_once_a_batch():
    running = easiness.ClassEasiness(3, momentum=0.5)
    running.update(torch.tensor([0, 0, 2]), torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(running.mean, torch.tensor([0.25, 0.0, -0.5]))
    running.update(torch.tensor([2]), torch.tensor([1.0]))
    torch.testing.assert_close(running(torch.tensor([2, 1])), torch.tensor([0.25, 0.0]))


def test_class_easiness_survives_state_dict():
    running = easiness.ClassEasiness(4)
    running.update(torch.tensor([1]), torch.tensor([0.7]))
    other = easiness.ClassEasiness(4)
    other.load_state_dict(running.state_dict())
    assert torch.equal(other.mean, running.mean)
