"""What moves a margin: target, slope and margin of every loss along one axis at a time."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab import margins
from cdmllab.margins.policy import Batch, MarginPolicy, check_choice

Axis = Literal["angle", "negative", "norm", "class_size", "progress"]
Floats = NDArray[np.float64]
IDENTITIES = 10  # where their sizes are not the axis
_DIM = 8
_SCATTER = 0.5  # radians between the embeddings of an identity and their mean


class Curve(NamedTuple):
    """A loss at n places of an axis; each of shape (n,)."""

    at: Floats  # the places
    target: Floats  # psi, the cosine to the positive centre after the margin
    logit: Floats  # of the positive centre: psi times the scale, plus the class offset
    slope: Floats  # d(target)/d(cosine), as the loss passes it on to the network
    margin_cos: Floats  # by how much the lead over a negative shrinks, in units of the cosine
    margin_rad: Floats  # the angle that the margin adds to the target, see `MarginPolicy`


@dataclass(frozen=True)
class Samples:
    """Samples that differ in everything that can move a margin.

    Parameters
    ----------
    angle_rad : to the target centre, shape (n,)
    negative_rad : to the nearest negative centre, shape (n,)
    norm : length of the embedding, shape (n,)
    labels : identities, shape (n,)
    class_sizes : training images of each identity, shape (c,)
    """

    angle_rad: Floats
    negative_rad: Floats
    norm: Floats
    labels: NDArray[np.int64]
    class_sizes: NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """A sample, as far as it is not varied, and the training that it is in.

    Parameters
    ----------
    angle_rad : to its class centre
    negative_rad : to the class centre of every negative
    norm : length of the embedding; lengths in training run from half of it to one and a half
    progress : how much of the training is done, in [0, 1]
    batches : how many training batches make the whole training; running statistics follow them
    scale : s
    """

    angle_rad: float = 1.0
    negative_rad: float = 1.3
    norm: float = 50.0
    progress: float = 1.0
    batches: int = 2_000
    scale: float = 64.0


def names() -> tuple[str, ...]:
    """The registered losses that have curves: those whose logits are functions of a cosine."""
    return tuple(
        name for name in margins.names() if getattr(margins.builder(name), "uses_cosine", True)
    )


def curves(axis: Axis, at: ArrayLike, place: Place | None = None) -> dict[str, Curve]:
    """`curve` of every registered loss that has one, by name, at the loss's defaults."""
    return {name: curve(name, axis, at, place) for name in names()}


def curve(
    name: str, axis: Axis, at: ArrayLike, place: Place | None = None, **options: object
) -> Curve:
    """Sample a loss along one axis, all else as `place` says.

    The margin counts everything that a loss does to a sample and to a negative: what it takes from
    the target's cosine, what it adds to the negative's, and the difference of their class offsets
    over the scale. The negative is of an identity of medium size. Before it is looked at, the loss
    observes the training batches up to the sample's progress: samples at the sample's angle, with
    lengths around its own.

    Parameters
    ----------
    name : one of `names()`
    axis : ``"angle"`` and ``"negative"``, the angles to the target centre and to those of
        negatives, radians; ``"norm"``, the length of the embedding; ``"class_size"``, whole numbers
        of images, one identity each; ``"progress"``, rising, in [0, 1]
    at : where, shape (n,)
    place : default `Place()`
    options : of the loss

    Raises
    ------
    ValueError : a loss without cosines, an unknown axis, or places that are none
    """
    check_choice("axis", axis, get_args(Axis))
    if name not in names():
        raise ValueError(f"{name!r} has no curve; there are: {', '.join(names())}")
    place = place or Place()
    values = np.asarray(at, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"at must hold finite numbers in one row, got shape {values.shape}")
    if axis == "progress":
        return _over_time(name, values, place, options)
    sizes = _sizes(values) if axis == "class_size" else None
    count = IDENTITIES if sizes is None else len(sizes)
    # A loss that has gone through the training up to the sample's progress.
    policy = _create(name, count, sizes, place, options)
    _train(policy, place, sizes, range(round(place.progress * place.batches)))
    # Only the quantity of the axis varies; the others are those of the place.
    x = torch.from_numpy(values)
    return _look(
        policy,
        values,
        theta=x if axis == "angle" else torch.full_like(x, place.angle_rad),
        negative=x if axis == "negative" else torch.full_like(x, place.negative_rad),
        norm=x if axis == "norm" else torch.full_like(x, place.norm),
        labels=torch.arange(len(x)) if axis == "class_size" else torch.zeros_like(x).long(),
        place=place,
        count=count,
        middle=0 if sizes is None else int(np.argsort(sizes)[len(sizes) // 2]),
    )


def over_samples(name: str, samples: Samples, place: Place | None = None) -> Curve:
    """The values of a loss at given samples, which a training up to `place.progress` precedes.

    The training is that of `curve`; its samples have the angles of `place`, and lengths around its
    own.

    Raises
    ------
    ValueError : a loss without cosines
    """
    if name not in names():
        raise ValueError(f"{name!r} has no curve; there are: {', '.join(names())}")
    place, sizes = place or Place(), samples.class_sizes
    policy = _create(name, len(sizes), sizes, place, {})
    _train(policy, place, sizes, range(round(place.progress * place.batches)))
    return _look(
        policy,
        np.arange(len(samples.labels), dtype=np.float64),
        theta=torch.from_numpy(samples.angle_rad),
        negative=torch.from_numpy(samples.negative_rad),
        norm=torch.from_numpy(samples.norm),
        labels=torch.from_numpy(samples.labels),
        place=place,
        count=len(sizes),
        middle=int(np.argsort(sizes)[len(sizes) // 2]),
    )


def _over_time(name: str, values: Floats, place: Place, options: dict[str, object]) -> Curve:
    """One loss that goes through a training, looked at on the way."""
    if (np.diff(values) < 0.0).any() or values[0] < 0.0 or values[-1] > 1.0:
        raise ValueError("progress must rise within [0, 1]")
    policy, done, curves_so_far = _create(name, IDENTITIES, None, place, options), 0, []
    for progress in values:
        # Continue the training from the place before to this one.
        until = round(progress * place.batches)
        _train(policy, place, None, range(done, until))
        done = until
        one = torch.ones(1, dtype=torch.float64)
        curves_so_far.append(
            _look(
                policy,
                np.array([progress]),
                theta=one * place.angle_rad,
                negative=one * place.negative_rad,
                norm=one * place.norm,
                labels=torch.zeros(1, dtype=torch.int64),
                place=replace(place, progress=float(progress)),
                count=IDENTITIES,
                middle=0,
            )
        )
    return Curve(*(np.concatenate(parts) for parts in zip(*curves_so_far, strict=True)))


def _create(
    name: str, count: int, sizes: NDArray[np.int64] | None, place: Place, options: dict[str, object]
) -> MarginPolicy:
    known = np.ones(count, dtype=np.int64) if sizes is None else sizes
    given: dict[str, Any] = {"num_identities": count, "embedding_dim": _DIM, **options}
    # Statistics in float64: KappaFace standardises concentrations, which are all equal here, and
    # would magnify the rounding of float32.
    return margins.create(name, class_sizes=known, scale=place.scale, **given).double()


def _sizes(values: Floats) -> NDArray[np.int64]:
    sizes = values.astype(np.int64)
    if (sizes != values).any() or sizes.min() < 1:
        raise ValueError("class sizes must be whole numbers of 1 or more")
    return sizes


def _train(
    policy: MarginPolicy, place: Place, sizes: NDArray[np.int64] | None, batches: range
) -> None:
    """Let a loss observe training batches, in which identities are as common as their sizes say."""
    if type(policy).observe is MarginPolicy.observe:
        return  # it would look at none of them
    # About 512 samples in a batch if sizes are given, otherwise two of each identity.
    share = np.ones(IDENTITIES) if sizes is None else sizes * (256.0 / sizes.sum())
    # Even numbers, so that half of an identity's samples are on each side of its mean.
    each = torch.from_numpy(2 * np.maximum(np.round(share), 1).astype(np.int64))
    labels = torch.arange(len(each)).repeat_interleave(each)
    n = len(labels)
    # The samples of an identity are _SCATTER radians away from its mean.
    side = torch.cat([torch.arange(int(k)) % 2 for k in each]) * 2.0 - 1.0
    unit = torch.zeros(n, _DIM, dtype=torch.float64)
    unit[:, 0], unit[:, 1] = math.cos(_SCATTER), math.sin(_SCATTER) * side
    theta = torch.full((n,), place.angle_rad, dtype=torch.float64)
    negative = torch.full_like(theta, place.negative_rad)
    norm = place.norm * torch.linspace(0.5, 1.5, n, dtype=torch.float64)
    for number in batches:
        batch = _batch(policy, theta.cos(), negative.cos(), norm, labels, len(each), place)
        progress = number / max(place.batches, 1)
        policy.observe(replace(batch, unit_embeddings=unit, progress=progress))


def _batch(
    policy: MarginPolicy,
    own: Tensor,
    other: Tensor,
    norm: Tensor,
    labels: Tensor,
    count: int,
    place: Place,
) -> Batch:
    batch = Batch(labels, own, norm, place.progress, hardest_negative=other)
    # There is one negative: the mean over the hard ones is its cosine, or 0 if it is not hard.
    hard = torch.where(policy.hard(other.unsqueeze(1), batch)[:, 0], other, 0.0)
    scale = policy.current_scale(torch.tensor(place.scale, dtype=torch.float64))
    # The log-sum-exp of c - 1 equal negatives.
    partition = scale * other + math.log(max(count - 1, 1))
    return replace(batch, hard_negative_mean=hard, negative_partition=partition)


def _look(
    policy: MarginPolicy,
    values: Floats,
    *,
    theta: Tensor,
    negative: Tensor,
    norm: Tensor,
    labels: Tensor,
    place: Place,
    count: int,
    middle: int,
) -> Curve:
    """The curve of a loss as it is now; tensors of shape (n,)."""
    own, other = theta.cos().requires_grad_(), negative.cos()
    batch = _batch(policy, own, other, norm, labels, count, place)
    target = policy.margined(own, batch)
    (slope,) = torch.autograd.grad(target.sum(), own)
    scale = policy.current_scale(torch.tensor(place.scale, dtype=torch.float64)).double()
    # What the loss adds to the negative's cosine.
    raised = policy.negatives(other.unsqueeze(1), batch)[:, 0] - other
    offset = policy.class_offset()
    target_offset = torch.zeros_like(other) if offset is None else offset[labels] / scale
    negative_offset = 0.0 if offset is None else offset[middle] / scale
    # The lead shrinks at the target, at the negative, and by the difference of their offsets.
    margin = own - target + raised + negative_offset - target_offset
    added = policy.margin_rad(batch)
    parts = (target, scale * (target + target_offset), slope, margin, added)
    return Curve(values.copy(), *(part.detach().double().numpy() for part in parts))
