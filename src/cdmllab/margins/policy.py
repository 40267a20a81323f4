"""The interface of a margin softmax loss: how it changes the cosines of a batch."""

import copy
import inspect
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
    """The information that a head gives a policy about a batch of b samples, none ignored."""

    labels: Tensor  # [b] int64, the identity of each sample
    target_cos: Tensor  # [b] cosine to the positive (target) centre
    embedding_norm: Tensor  # [b] length of the embedding before normalisation
    progress: float = 0.0  # completed share of the training, in [0, 1]
    unit_embeddings: Tensor | None = None  # [b, d]
    known_easiness: Tensor | None = None  # [b] the true easiness, in [-1, 1], if it is known
    # Only if the policy requests them in `statistics`:
    hardest_negative: Tensor | None = None  # [b] largest cosine to a negative centre
    hard_negative_mean: Tensor | None = None  # [b] mean cosine over `hard` negatives, detached
    negative_partition: Tensor | None = None  # [b] log-sum-exp of scale x cosine, detached


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

    A subclass overrides the hooks it needs. Class centres and the scale belong to the head.
    Running statistics are buffers and learnt values are parameters, so that `state_dict` includes
    both.

    The loss of sample i depends on the logit t_i of its positive centre, after the margin, and on
    its negatives, the centres of all other identities, through one number N_i. For a softmax loss
    N_i is the log-sum-exp of the negatives' logits, and the loss is -log(exp(t_i) / (exp(t_i) +
    exp(N_i))). With ``reduction = "sum"`` N_i is a sum of losses, one for each negative, as in
    losses that ask of every identity "is it this one?" (SphereFace2, UniFace). Such a loss
    overrides `negative_loss` and `sample_loss`::

        class OneVsAll(MarginPolicy):
            reduction = "sum"

            def negative_loss(self, logits):
                return F.softplus(logits)

            def sample_loss(self, positive_logit, negatives):
                return F.softplus(-positive_logit) + negatives

    Parameters
    ----------
    gradient : ``"exact"`` differentiates the target through the margin; ``"straight_through"``
        keeps the value but sets d(target)/d(cosine) to 1, as arcface_torch does by computing the
        margin under ``no_grad`` (since December 2022).
    """

    name: ClassVar[str] = ""  # set by `cdmllab.margins.register`
    uses_cosine: ClassVar[bool] = True  # False: the head's logits are w.x + b
    reduction: ClassVar[Reduction] = "logsumexp"  # how the negatives are reduced to N_i
    statistics: tuple[Statistic, ...] = ()  # statistics of the negatives that the loss requests
    centres_per_identity: int = 1

    def __init__(self, *, gradient: Gradient = "exact") -> None:
        super().__init__()
        check_choice("gradient", gradient, get_args(Gradient))
        self.gradient: Gradient = gradient

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """The target cosine after the margin; shape (b,) to (b,)."""
        return target_cos

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """The cosines to the negative centres after the loss's change; shape (b, c) to (b, c).

        Must be elementwise in the cosines. May use `batch.target_cos`, buffers and the loss's own
        parameters, but not the statistics, which are not known yet. The head ignores the result in
        the column of the positive centre.
        """
        return cosines

    def negative_loss(self, logits: Tensor) -> Tensor:
        """The loss of each negative for ``reduction = "sum"``; shape (b, c) to (b, c).

        Must be elementwise in the logits; may use the loss's own parameters.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has reduction = 'sum' but does not define negative_loss"
        )

    def sample_loss(self, positive_logit: Tensor, negatives: Tensor) -> Tensor:
        """The loss of each sample, by default the softmax loss; shapes (b,), (b,) to (b,).

        Parameters
        ----------
        positive_logit : t_i, the scale times the margined target cosine
        negatives : N_i, the reduced logits of the negatives
        """
        # -log(e^t / (e^t + e^N)) = log(1 + e^(N - t)). Above 40 this is N - t itself, even in
        # float64, where e^-40 is below the spacing of numbers near 40.
        return F.softplus(negatives - positive_logit, threshold=40.0)

    def hard(self, cosines: Tensor, batch: Batch) -> Tensor:
        """The mask of the negatives in ``hard_negative_mean``; shape (b, c) to bool (b, c)."""
        return torch.zeros_like(cosines, dtype=torch.bool)

    def observe(self, batch: Batch) -> None:
        """Update running statistics; called once per training batch, before `target`.

        The batch contains the statistics that the loss requests, unless the loss changes negatives:
        in that case the call comes before the negatives are computed, and the statistics are None.
        """

    def snapshot(self) -> Self:
        """A copy with buffers that no longer change.

        A backward pass may come after further batches have updated the running statistics, and
        still needs those of its own forward pass.
        """
        # A shallow copy shares the parameters, which receive gradients, but not the buffers.
        kept = copy.copy(self)
        kept._buffers = {
            name: None if value is None else value.clone() for name, value in self._buffers.items()
        }
        return kept

    # Overriding a method declares each of these; nothing else has to be set.

    @property
    def changes_negatives(self) -> bool:
        """Whether the loss changes the cosines to negative centres, see `negatives`."""
        return type(self).negatives is not MarginPolicy.negatives

    @property
    def sets_scale(self) -> bool:
        """Whether the loss replaces the head's scale by its own, which `observe` may change."""
        return type(self).current_scale is not MarginPolicy.current_scale

    @property
    def offsets_classes(self) -> bool:
        """Whether the loss adds to the logits of identities, see `class_offset`."""
        return type(self).class_offset is not MarginPolicy.class_offset

    def current_scale(self, scale: Tensor) -> Tensor:
        """The scale to use, given the head's; a scalar tensor to a scalar tensor."""
        return scale

    def regulariser(self, batch: Batch) -> Tensor | None:
        """A term added to each sample's loss, shape (b,), or None without one."""
        return None

    def easiness(self, batch: Batch) -> Tensor | None:
        """The signed easiness of each sample, shape (b,), or None if the loss has none."""
        return None

    @torch.no_grad()
    def margin_rad(self, batch: Batch) -> Tensor:
        """The angle that the margin adds to each sample's target; shape (b,), radians.

        By default it is the angle of the margined cosine minus the angle of the plain one.
        """
        return angle(self.target(batch.target_cos, batch)) - angle(batch.target_cos)

    def class_offset(self) -> Tensor | None:
        """What is added to the logit of each identity, be it positive or negative; shape (c,),
        constant. None adds nothing.
        """
        return None

    def margined(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """`target` with the chosen gradient; heads call this method."""
        if self.gradient == "straight_through":
            with torch.no_grad():
                value = self.target(target_cos, batch)
            return straight_through(value, target_cos)
        return self.target(target_cos, batch)

    def describe(self) -> str:
        """One line for readers: how this loss changes the target cosine.

        By default it is the first line of the class's docstring.
        """
        # A class without a docstring does not describe itself by that of its base.
        documented = inspect.cleandoc(type(self).__doc__ or "no description")
        return documented.splitlines()[0].rstrip(".")

    def extra_repr(self) -> str:
        return self.describe()


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError with the option's name and choices unless `value` is one of them."""
    if value not in allowed:
        choices = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError unless `value` is a number in [low, high]; NaN is rejected as well."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}]; got {value!r}")
