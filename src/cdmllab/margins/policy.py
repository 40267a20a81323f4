"""The protocol of a margin softmax: what a loss changes about the cosines of a batch."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdmllab.geometry import angle

Gradient = Literal["exact", "straight_through"]
Reduction = Literal["logsumexp", "sum"]
Statistic = Literal["hardest_negative", "hard_negative_mean", "negative_partition"]


@dataclass(frozen=True)
class Batch:
    """What a head tells a policy about the batch it is working on; b samples, ignored ones left
    out.
    """

    labels: Tensor  # [b] int64, the identity of each sample
    target_cos: Tensor  # [b] cosine to the own class centre
    embedding_norm: Tensor  # [b] length of the embedding before normalisation
    progress: float = 0.0  # how much of the training is done, in [0, 1]
    unit_embeddings: Tensor | None = None  # [b, d]
    known_easiness: Tensor | None = None  # [b] the truth, in [-1, 1], where somebody knows it
    # What the policy asks for in `statistics`:
    hardest_negative: Tensor | None = None  # [b] largest cosine to a foreign centre
    hard_negative_mean: Tensor | None = (
        None  # [b] mean cosine over `hard` negatives, 0 without any; no gradient
    )
    negative_partition: Tensor | None = (
        None  # [b] log sum over negatives of exp(scale x cosine); no gradient
    )


class _StraightThrough(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, source: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """`value`, with a gradient of 1 with respect to `source`; tensors of one shape."""
    result: Tensor = _StraightThrough.apply(value, source)
    return result


class MarginPolicy(nn.Module):
    """Base of every loss: the identity, which is NormFace.

    A subclass overrides the hook it changes. Nothing here owns class centres or a scale; that is
    the head's part. Running statistics are buffers and what is learnt are parameters, so that
    `state_dict` carries all of it.

    The loss of a sample has two parts: the logit of its positive centre, and one number to which
    the logits of all negative centres are reduced. A softmax loss reduces them by the logarithm
    of the sum of exponentials. With ``reduction = "sum"`` the negatives' own losses are added up
    instead, as losses do that ask of every identity "is it this one?" (SphereFace2, UniFace).
    Such a loss overrides `negative_loss` and `sample_loss`::

        class OneVsAll(MarginPolicy):
            reduction = "sum"

            def negative_loss(self, logits):
                return F.softplus(logits)

            def sample_loss(self, positive_logit, negatives):
                return F.softplus(-positive_logit) + negatives

    Parameters
    ----------
    gradient : ``"exact"`` differentiates the target through the margin; ``"straight_through"``
        keeps the value but lets d(target)/d(cosine) be 1, as arcface_torch does by computing it
        under ``no_grad`` (since December 2022).
    """

    name: ClassVar[str] = ""  # set by `cdmllab.margins.register`
    uses_cosine: ClassVar[bool] = True  # False: the head's logits are w.x + b
    changes_negatives: ClassVar[bool] = False  # True: `negatives` is not the identity
    reduction: ClassVar[Reduction] = "logsumexp"  # of the negatives' logits to one number
    statistics: tuple[Statistic, ...] = ()  # what the head has to find out about the negatives
    centres_per_identity: int = 1

    def __init__(self, *, gradient: Gradient = "exact") -> None:
        super().__init__()
        check_choice("gradient", gradient, get_args(Gradient))
        self.gradient: Gradient = gradient

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """The cosine of the own class after the margin; shape (b,) to (b,)."""
        return target_cos

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """The cosines of the other classes after the loss's change; shape (b, c) to (b, c).

        Elementwise in the cosines. May look at `batch.target_cos`, at buffers and at the loss's own
        parameters, not at the statistics.
        """
        return cosines

    def negative_loss(self, logits: Tensor) -> Tensor:
        """What each negative adds to the loss with ``reduction = "sum"``; shape (b, c) to (b, c).

        Elementwise; may use the loss's own parameters.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sums over negatives without a negative_loss"
        )

    def sample_loss(self, positive_logit: Tensor, negatives: Tensor) -> Tensor:
        """The loss of each sample; shapes (b,), (b,) to (b,). By default that of a softmax.

        Parameters
        ----------
        positive_logit : scale x margined cosine
        negatives : what the logits of all negatives are reduced to
        """
        # -log(e^y / (e^y + e^n)); above 40 the 1 in log(1 + e^x) no longer counts, in float64
        # either.
        return F.softplus(negatives - positive_logit, threshold=40.0)

    def hard(self, cosines: Tensor, batch: Batch) -> Tensor:
        """Which negatives count for ``hard_negative_mean``; shape (b, c) to bool (b, c)."""
        return torch.zeros_like(cosines, dtype=torch.bool)

    def observe(self, batch: Batch) -> None:
        """Update running statistics; the head calls it once a training batch, before `target`.

        The batch holds the statistics that the loss asks for, unless the loss changes negatives:
        then it is called before the negatives are looked at, without them.
        """

    def as_now(self) -> Self:
        """A copy whose buffers stay as they are now: for a backward pass that other batches may
        come before.
        """
        kept = copy.copy(self)
        kept._buffers = {
            name: None if value is None else value.clone() for name, value in self._buffers.items()
        }
        return kept

    @property
    def sets_scale(self) -> bool:
        """Whether the loss has a scale of its own, which `observe` may move."""
        return type(self).current_scale is not MarginPolicy.current_scale

    @property
    def offsets_classes(self) -> bool:
        """Whether the loss adds to the logits of identities, see `class_offset`."""
        return type(self).class_offset is not MarginPolicy.class_offset

    def current_scale(self, scale: Tensor) -> Tensor:
        """The scale in use, given the head's; a scalar tensor to a scalar tensor."""
        return scale

    def regulariser(self, batch: Batch) -> Tensor | None:
        """What is added to each sample's loss, shape (b,), where the loss has such a term."""
        return None

    def easiness(self, batch: Batch) -> Tensor | None:
        """The signed easiness of each sample, shape (b,), where the loss has such a notion."""
        return None

    @torch.no_grad()
    def margin_rad(self, batch: Batch) -> Tensor:
        """The angle by which each sample's target is pushed back; shape (b,), radians.

        In general the angle of the margined cosine less the angle of the plain one.
        """
        return angle(self.target(batch.target_cos, batch)) - angle(batch.target_cos)

    def class_offset(self) -> Tensor | None:
        """What is added to the logit of each identity, be it positive or negative; shape (c,),
        constant. None adds nothing.
        """
        return None

    def margined(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """`target` with the gradient that was asked for; what a head calls."""
        if self.gradient == "straight_through":
            with torch.no_grad():
                value = self.target(target_cos, batch)
            return straight_through(value, target_cos)
        return self.target(target_cos, batch)

    def describe(self) -> str:
        """One line for people: what this loss does to the target cosine."""
        return "no margin"

    def extra_repr(self) -> str:
        return self.describe()


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError that names the option and what it may be."""
    if value not in allowed:
        choices = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError unless `value` is a number with low <= value <= high (NaN fails too)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}]; got {value!r}")
