"""The declared causes of each loss's margin, compared with measured ones."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from tests.oracles import class_sizes

from cdmllab import margins
from cdmllab.margins import Batch, MovedBy, registry

SIZE = {"num_identities": 6, "embedding_dim": 4}
CHANGES = {
    "class": lambda b: replace(b, labels=b.labels.flip(0)),
    "gap": lambda b: replace(b, hard_negative_mean=b.hard_negative_mean + 0.3),
    "norm": lambda b: replace(b, embedding_norm=b.embedding_norm + 10.0),
    "time": lambda b: replace(b, progress=0.9),
}


def batch():
    """Six samples at one angle, of identities 0 to 5, with embeddings that scatter more or less."""
    g = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(6, 4, generator=g), dim=1)
    return Batch(
        labels=torch.arange(6),
        target_cos=torch.full((6,), 0.5, dtype=torch.float64),
        embedding_norm=torch.full((6,), 40.0, dtype=torch.float64),
        unit_embeddings=unit,
        hardest_negative=torch.full((6,), 0.3, dtype=torch.float64),
        hard_negative_mean=torch.full((6,), 0.2, dtype=torch.float64),
        negative_partition=torch.full((6,), 3.0, dtype=torch.float64),
    )


def trained(name, steps):
    """A loss that has seen some batches, in which identity 5 is common and identity 0 rare."""
    policy = margins.create(name, **SIZE, class_sizes=class_sizes(6))
    for step in range(steps):
        g = torch.Generator().manual_seed(step)
        labels = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 5])
        spread = 0.1 * (1.0 + labels).unsqueeze(1) * torch.randn(15, 4, generator=g)
        unit = torch.nn.functional.normalize(torch.eye(6, 4)[labels] + 0.5 + spread, dim=1)
        policy.observe(
            Batch(
                labels=labels,
                target_cos=torch.full((15,), 0.7, dtype=torch.float64),
                embedding_norm=torch.linspace(10, 70, 15, dtype=torch.float64),
                unit_embeddings=unit,
                hardest_negative=torch.zeros(15),
                hard_negative_mean=torch.zeros(15),
                negative_partition=torch.full((15,), 3.0),
            )
        )
    return policy


def margin(policy, b):
    """The margin of each sample over a negative, (6,): of the target and of the negative."""
    negative = policy.negatives(torch.full((6, 1), 0.45, dtype=torch.float64), b)[:, 0]
    offset = policy.class_offset()
    raised = 0.0 if offset is None else offset[b.labels]
    return policy.target(b.target_cos, b).detach() + raised - negative.detach()


def moved(name):
    """The changes that move a loss's margin at one target angle."""
    policy, b = trained(name, 3), batch()
    causes = {
        mover for mover, change in CHANGES.items()
        if not torch.equal(margin(policy, b), margin(policy, change(b)))
    }  # fmt: skip
    other = replace(b, target_cos=b.target_cos + 0.49)  # the negative is no longer hard
    if not torch.equal(
        policy.negatives(torch.full((6, 1), 0.45, dtype=torch.float64), b),
        policy.negatives(torch.full((6, 1), 0.45, dtype=torch.float64), other),
    ):
        causes.add("gap")
    return causes


@pytest.mark.parametrize("name", margins.names())
def test_every_loss_declares_what_moves_its_margin_and_in_which_direction(name):
    movers = margins.moved_by(name)
    assert movers
    assert set(movers) <= set(get_args(MovedBy))
    assert ("nothing" in movers) is (movers == ("nothing",))
    assert margins.direction(name)
    assert not margins.direction(name).endswith(".")


@pytest.mark.parametrize("name", margins.names())
def test_declared_causes_are_those_that_move_the_margin(name):
    causes = set(margins.moved_by(name))
    assert moved(name) == causes & {"class", "gap", "norm"}
    late, early = margin(trained(name, 40), batch()), margin(trained(name, 3), batch())
    # Running statistics of identities, lengths and draws move on too, without a trend.
    if not causes & {"class", "norm", "chance"}:
        assert (not torch.equal(late, early)) is ("time" in causes)


@pytest.mark.parametrize("name", ["x2_softmax", "sphereface", "sphereface2", "cdml"])
def test_losses_moved_by_the_angle_have_no_constant_margin(name):
    """Neither the subtracted cosine nor the subtracted angle is constant."""
    assert "angle" in margins.moved_by(name)
    policy, theta = trained(name, 3), torch.linspace(0.3, 1.3, 6, dtype=torch.float64)
    b = replace(batch(), target_cos=theta.cos())
    target = policy.target(b.target_cos, b).detach()
    assert float((b.target_cos - target).std()) > 1e-4
    assert float((target.clamp(-1, 1).acos() - theta).std()) > 1e-4


def test_registered_loss_need_not_declare_it(monkeypatch):
    monkeypatch.setattr(registry, "_LOSSES", dict(registry._LOSSES))
    margins.register("halfway", year=2019)(type("Halfway", (margins.MarginPolicy,), {}))
    assert (margins.moved_by("halfway"), margins.direction("halfway")) == ((), "")
    margins.register("other", year=2019, moved_by=("norm", "time"), direction="longer ones")(
        type("Other", (margins.MarginPolicy,), {})
    )
    assert margins.moved_by("other") == ("norm", "time")


def test_unknown_cause_is_refused():
    with pytest.raises(ValueError, match=r"moved_by must be one of 'nothing', .*'weather'"):
        margins.register("other", year=2019, moved_by=("weather",))
    with pytest.raises(ValueError, match=r"unknown loss 'arcfase' \(did you mean 'arcface'\?\)"):
        margins.moved_by("arcfase")
