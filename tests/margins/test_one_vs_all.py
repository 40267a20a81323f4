"""SphereFace2, UniFace and ArcNegFace against worked values."""

import math
import pickle

import pytest
import torch

from cdmllab import heads, margins
from cdmllab.margins import Batch

ONE_VS_ALL = [name for name in margins.names() if margins.builder(name).reduction == "sum"]
BACKENDS = ["dense", "blocked", "sharded"]


def head_at_90_degrees(name, c, scale, backend="dense", **options):
    """A head, and one embedding with a cosine of 0 to every class centre."""
    size = {"embedding_dim": 2, "num_identities": c, "scale": scale, "backend": backend}
    head = heads.create(name, **size, **options).double()
    with torch.no_grad():
        head.centres.copy_(torch.tensor([0.0, 1.0]).expand(c, 2))
    return head, torch.tensor([[3.0, 0.0]], dtype=torch.float64)


def one(c):
    cos = torch.tensor([c], dtype=torch.float64)
    return Batch(torch.zeros(1, dtype=torch.int64), cos, torch.ones_like(cos))


@pytest.mark.parametrize("scale", [1.0, 8.0, 64.0])
@pytest.mark.parametrize("c", [2, 3, 5, 10_000])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.7, 0.999])
def test_the_bias_of_sphereface2_starts_where_positives_and_negatives_balance(share, c, scale):
    policy = margins.create("sphereface2", num_identities=c, scale=scale, positive_share=share)
    b = policy.bias.detach().double()
    positive, negative = (scale * (2 * 0.125 - 1 + m) + b for m in (-0.4, 0.4))
    pull = share * torch.sigmoid(-positive)
    push = (1 - share) * (c - 1) * torch.sigmoid(negative)
    assert float(pull) == pytest.approx(float(push), rel=1e-4)  # b is a float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_sphereface2_equals_worked_values(backend):
    """g(0.6) = 2 x 0.8^2 - 1 = 0.28 and g(-0.2) = 2 x 0.4^2 - 1 = -0.68, with t = 2."""
    options = {"t": 2.0, "margin_cos": 0.1, "positive_share": 0.75, "weight": 2.0}
    size = {"embedding_dim": 2, "num_identities": 2, "scale": 4.0, "backend": backend}
    head = heads.create("sphereface2", **size, **options).double()
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[0.6, 0.8], [-0.2, math.sqrt(0.96)]]))
        head.policy.bias.fill_(0.5)
    out = head(torch.tensor([[5.0, 0.0]], dtype=torch.float64), [0])
    positive, negative = 4 * (0.28 - 0.1) + 0.5, 4 * (-0.68 + 0.1) + 0.5
    want = 0.75 * math.log1p(math.exp(-positive)) + 0.25 * math.log1p(math.exp(negative))
    assert float(out.loss.detach()) == pytest.approx(2.0 / 4.0 * want, rel=1e-6)


def test_sphereface2_passes_gradients_straight_through_for_negatives_too():
    policy = margins.create("sphereface2", num_identities=3, gradient="straight_through")
    exact = margins.create("sphereface2", num_identities=3)
    c = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(0).requires_grad_()
    value = policy.negatives(c, one(0.5))
    assert torch.equal(value, exact.negatives(c, one(0.5)))
    (slope,) = torch.autograd.grad(value.sum(), c)
    assert torch.equal(slope, torch.ones_like(c))


def test_the_threshold_of_uniface_starts_at_the_logarithm_of_ten_times_the_identities():
    policy = margins.create("uniface", num_identities=360)
    assert float(policy.bias.detach()) == pytest.approx(math.log(3600.0))
    policy = margins.create("uniface", num_identities=360, bias=-1.5)
    assert float(policy.bias.detach()) == -1.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_uniface_equals_worked_values(backend):
    """At 90 degrees, with s = 10, m = 0.3 and b = 2: log(1 + e^5) + 3 x 0.5 x log(1 + e^-2)."""
    options = {"margin_cos": 0.3, "negative_weight": 0.5, "bias": 2.0}
    head, x = head_at_90_degrees("uniface", 4, 10.0, backend, **options)
    out = head(x, [1])
    want = math.log1p(math.exp(5.0)) + 1.5 * math.log1p(math.exp(-2.0))
    assert float(out.loss.detach()) == pytest.approx(want, rel=1e-12)
    out.loss.backward()
    slope = 1 / (1 + math.exp(-5.0)) - 1.5 / (1 + math.exp(2.0))
    assert float(head.policy.bias.grad) == pytest.approx(slope, rel=1e-12)


def test_clipped_logits_of_uniface_have_no_gradient_beyond_the_scale():
    def slope(cosine, **options):
        policy = margins.create("uniface", num_identities=100, scale=8.0, bias=4.0, **options)
        z = torch.tensor([8.0 * (cosine - 0.4)], dtype=torch.float64, requires_grad=True)
        policy.sample_loss(z, torch.zeros(1)).backward()
        return float(z.grad)

    inside, beyond = -0.05, -0.15  # 8 (c - 0.4) - 4 is -7.6 and -8.4
    assert slope(inside, clip_logits=True) == slope(inside) != 0.0
    assert slope(beyond, clip_logits=True) == 0.0
    assert slope(beyond) < -0.99
    with pytest.raises(ValueError, match="clip_logits must be True or False; got 1"):
        margins.create("uniface", num_identities=3, clip_logits=1)


@pytest.mark.parametrize("name", ONE_VS_ALL)
def test_a_learnt_bias_is_kept_by_state_dict_and_by_pickling(name):
    head, x = head_at_90_degrees(name, 4, 8.0)
    with torch.no_grad():
        head.policy.bias.add_(0.75)
    other, _ = head_at_90_degrees(name, 4, 8.0)
    assert other(x, [1]).loss != head(x, [1]).loss
    other.load_state_dict(head.state_dict())
    assert other(x, [1]).loss == head(x, [1]).loss
    again = pickle.loads(pickle.dumps(head))
    assert again(x, [1]).loss == head(x, [1]).loss


@pytest.mark.parametrize("name", ONE_VS_ALL)
def test_a_step_moves_the_learnt_bias_against_the_heavier_side(name):
    """In a batch of positives on their centre and negatives opposite, nothing is heavy; with all
    cosines 1 the negatives are, and the bias has to fall (b of SphereFace2 is added, that of
    UniFace subtracted).
    """
    size = {"embedding_dim": 2, "num_identities": 50, "scale": 16.0}
    head = heads.create(name, **size).double()
    with torch.no_grad():
        head.centres.copy_(torch.tensor([1.0, 0.0]).expand(50, 2))
    head(torch.tensor([[1.0, 0.0]], dtype=torch.float64), [0]).loss.backward()
    raised = -float(head.policy.bias.grad) > 0.0
    assert raised is (name == "uniface")


@pytest.mark.parametrize("gap", [0.0, 0.2, -0.6])
def test_arcnegface_weighs_negatives_by_their_distance_from_the_target(gap):
    policy = margins.create("arcnegface", alpha=1.5, sigma=0.5)
    level = math.cos(1.0 + 0.5)
    cosines = torch.tensor([[level + gap]], dtype=torch.float64, requires_grad=True)
    t = 1.5 * math.exp(-(gap**2) / 0.5)
    value = policy.negatives(cosines, one(math.cos(1.0)))
    assert float(value.detach()) == pytest.approx(t * (level + gap) + t - 1.0, rel=1e-9)
    (slope,) = torch.autograd.grad(value.sum(), cosines)
    assert float(slope) == pytest.approx(t, rel=1e-9)  # t itself is not differentiated
