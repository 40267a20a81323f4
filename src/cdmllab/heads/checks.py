"""What a head asks of a batch and of its own class centres before it computes anything."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from cdmllab.geometry import unit
from cdmllab.margins.policy import MarginPolicy, Reduction, Statistic, check_choice

IGNORE = -1


class Centres(NamedTuple):
    """The class centres of a call, in the dtype that it is computed in."""

    rows: Tensor  # [c K, d] with a gradient
    bias: Tensor | None  # [c] of plain softmax
    lengths: Tensor | None  # [c K] of the rows, without a gradient; None for plain softmax


class Samples(NamedTuple):
    """A checked batch."""

    embeddings: Tensor  # [b, d] float32 or float64
    labels: Tensor  # [b] int64
    known_easiness: Tensor | None  # [b]
    some_ignored: bool  # whether some labels may be IGNORE

    def kept(self) -> "Samples":
        """Those that are not ignored."""
        if not self.some_ignored:
            return self
        rows = self.labels != IGNORE
        known = None if self.known_easiness is None else self.known_easiness[rows]
        return Samples(self.embeddings[rows], self.labels[rows], known, False)


def check_embeddings(
    embeddings: Any, embedding_dim: int, device: torch.device | None = None
) -> torch.dtype:
    """The dtype that a head computes in: float64 for float64 embeddings, float32 for all others.

    Raises
    ------
    ValueError : no floating-point Tensor of shape (b, embedding_dim) on that device, if one is
        named
    """
    if not isinstance(embeddings, Tensor):
        raise ValueError(f"embeddings must be a Tensor, got {type(embeddings).__name__}")
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_dim:
        shape = tuple(embeddings.shape)
        raise ValueError(f"embeddings must have shape (b, {embedding_dim}), got {shape}")
    if not embeddings.is_floating_point():
        raise ValueError(f"embeddings must be floating point, got {embeddings.dtype}")
    if device is not None and embeddings.device != device:
        raise ValueError(f"embeddings are on {embeddings.device} and the head is on {device}")
    return torch.float64 if embeddings.dtype == torch.float64 else torch.float32


def check_batch(
    embeddings: Tensor,
    labels: Any,
    known_easiness: Any,
    num_identities: int,
    also: Tensor | None = None,
) -> tuple[Samples, bool]:
    """Check a batch whose embeddings have passed `check_embeddings`.

    Parameters
    ----------
    labels, known_easiness : Tensors, arrays or lists
    also : a scalar condition to read in the same look at the device

    Returns
    -------
    The batch, and the value of `also` (True where there is none).

    Raises
    ------
    ValueError : saying what is wrong, and with which sample
    """
    b = len(embeddings)
    labels = _tensor("labels", labels, embeddings.device)
    if labels.shape not in ((b,), (b, 1)):
        raise ValueError(f"labels must have shape ({b},) or ({b}, 1), got {tuple(labels.shape)}")
    if b and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    labels = labels.reshape(b).long()
    wrong = (labels < IGNORE) | (labels >= num_identities)
    bad = ~torch.isfinite(embeddings).all(dim=1) & (labels != IGNORE)
    flags = [(wrong | bad).any(), (labels == IGNORE).any()]
    some_wrong, some_ignored, *told = torch.stack(
        flags if also is None else [*flags, also]
    ).tolist()
    if some_wrong:
        if bool(wrong.any()):
            i = int(wrong.nonzero()[0])
            raise ValueError(
                f"label {int(labels[i])} of sample {i} is out of range: allowed are 0 to "
                f"{num_identities - 1}, and {IGNORE} to ignore a sample"
            )
        i, count = int(bad.nonzero()[0]), int(bad.sum())
        raise ValueError(f"the embedding of sample {i} holds NaN or infinity ({count} such of {b})")
    x = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    known = None if known_easiness is None else _known(known_easiness, x)
    return Samples(x, labels, known, some_ignored), all(told)


def as_usual(
    centres: Tensor, bias: Tensor | None, dtype: torch.dtype, cosines: bool
) -> tuple[Centres, Tensor]:
    """The class centres in a dtype, and a scalar condition: they can be computed with as they are.

    With `cosines`, their lengths may be squared and divided by, or are 0; else nothing is NaN or
    infinite.
    """
    rows = centres.to(dtype)
    if not cosines:
        bias = None if bias is None else bias.to(dtype)
        finite = torch.linalg.vector_norm(rows.detach(), ord=torch.inf, dim=1).isfinite().all()
        return Centres(rows, bias, None), finite if bias is None else finite & bias.isfinite().all()
    lengths = torch.linalg.vector_norm(rows.detach(), dim=1)
    # 3e15 in float32: squares and their inverses stay normal numbers, which GPUs do not flush to 0.
    limit = torch.finfo(dtype).max ** 0.4
    usual = (lengths == 0.0) | ((lengths > 1.0 / limit) & (lengths < limit))
    return Centres(rows, None, lengths), usual.all()


def rescued(centres: Centres, identities: range) -> Centres:
    """Class centres that are too long or too short to be squared, at length 1: with the same
    cosines.

    Parameters
    ----------
    centres : as `as_usual` has them
    identities : whose they are

    Raises
    ------
    ValueError : naming an identity whose class centre holds NaN or infinity
    """
    bad = ~torch.isfinite(centres.rows.detach()).all(dim=1)
    if centres.bias is not None:
        bad |= ~torch.isfinite(centres.bias.detach())
    if bool(bad.any()):
        i = identities[int(bad.nonzero()[0]) * len(identities) // len(bad)]
        count = int(bad.sum())
        raise ValueError(
            f"the class centre of identity {i} holds NaN or infinity ({count} such centres)"
        )
    rows = unit(centres.rows)
    return Centres(rows, None, torch.linalg.vector_norm(rows.detach(), dim=1))


def check_policy(policy: MarginPolicy, name: str, filters: bool) -> None:
    """Raise a ValueError if a head cannot give the policy what it asks for."""
    for statistic in policy.statistics:
        if statistic not in get_args(Statistic):
            raise ValueError(
                f"{name} asks for {statistic!r}; a head knows {', '.join(get_args(Statistic))}"
            )
    check_choice(f"{name}.reduction", policy.reduction, get_args(Reduction))
    asks = policy.statistics or policy.changes_negatives or policy.offsets_classes or filters
    if not policy.uses_cosine and asks:
        raise ValueError(
            f"{name} has logits without cosines: no statistics of negatives, no change of them, no "
            "class_offset and no interclass_filtering_threshold"
        )


def _tensor(name: str, values: Any, device: torch.device) -> Tensor:
    """A Tensor as it is; a list or an array as a Tensor on the device."""
    if isinstance(values, Tensor):
        if values.device != device:
            raise ValueError(f"{name} are on {values.device} and the embeddings on {device}")
        return values
    if isinstance(values, str) or not (
        isinstance(values, Sequence) or hasattr(values, "__array__")
    ):
        kind = type(values).__name__
        raise ValueError(f"{name} must be a Tensor, an array or a list of numbers, got {kind}")
    try:
        return torch.from_numpy(np.array(values, order="C")).to(
            device
        )  # a copy, so that any strides do
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name} must be a Tensor, an array or a list of numbers; these are not"
        ) from None


def _known(known_easiness: Any, embeddings: Tensor) -> Tensor:
    """Known easiness (b,) in the embeddings' dtype, or a ValueError that says what is wrong."""
    known = _tensor("known_easiness", known_easiness, embeddings.device)
    b = len(embeddings)
    if known.shape != (b,):
        raise ValueError(f"known_easiness must have shape ({b},), got {tuple(known.shape)}")
    wrong = ~((known >= -1.0) & (known <= 1.0))
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise ValueError(
            f"the known easiness of sample {i} is {float(known[i]):g}: it must lie in [-1, 1]"
        )
    return known.to(embeddings)
