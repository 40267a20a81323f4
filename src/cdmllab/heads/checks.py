"""The checks of a head on a batch and on its class centres, before anything is computed."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from cdmllab.geometry import unit
from cdmllab.margins.policy import MarginPolicy, Reduction, Statistic, check_choice

IGNORE = -1


class Centres(NamedTuple):
    """The class centres of one call, in the dtype of its computation."""

    rows: Tensor  # [c K, d] with a gradient
    bias: Tensor | None  # [c] for plain softmax only
    lengths: Tensor | None  # [c K] of the rows, without a gradient; None for plain softmax


class Samples(NamedTuple):
    """A checked batch."""

    embeddings: Tensor  # [b, d] float32 or float64
    labels: Tensor  # [b] int64
    known_easiness: Tensor | None  # [b]
    some_ignored: bool  # False: no label is IGNORE

    def kept(self) -> "Samples":
        """The samples that are not ignored."""
        if not self.some_ignored:
            return self
        rows = self.labels != IGNORE
        known = None if self.known_easiness is None else self.known_easiness[rows]
        return Samples(self.embeddings[rows], self.labels[rows], known, False)


def check_embeddings(
    embeddings: Any, embedding_dim: int, device: torch.device | None = None
) -> torch.dtype:
    """Check embeddings and return the dtype to compute in: float64 for float64, else float32.

    Raises
    ------
    ValueError : not a floating-point Tensor of shape (b, embedding_dim), or not on `device`
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
    also : a scalar condition to read from the device together with the flags of the batch

    Returns
    -------
    The batch, and the value of `also` (True if it is None).

    Raises
    ------
    ValueError : naming the sample and what is wrong with it
    """
    b = len(embeddings)
    labels = _tensor("labels", labels, embeddings.device)
    if labels.shape not in ((b,), (b, 1)):
        raise ValueError(f"labels must have shape ({b},) or ({b}, 1), got {tuple(labels.shape)}")
    # An empty list becomes a tensor of floats, but has no label that could be wrong.
    if b and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    labels = labels.reshape(b).long()
    wrong = (labels < IGNORE) | (labels >= num_identities)
    bad = ~torch.isfinite(embeddings).all(dim=1) & (labels != IGNORE)  # ignored ones may be NaN
    # Reading from a GPU waits for all its pending work, so all flags are read at once, and the
    # details only if there is an error to report.
    flags = [(wrong | bad).any(), (labels == IGNORE).any()]
    some_wrong, some_ignored, *others = torch.stack(
        flags if also is None else [*flags, also]
    ).tolist()
    if some_wrong:
        # A label out of range is reported first; otherwise an embedding is not finite.
        if bool(wrong.any()):
            i = int(wrong.nonzero()[0])
            raise ValueError(
                f"label {int(labels[i])} of sample {i} is out of range: allowed are 0 to "
                f"{num_identities - 1}, and {IGNORE} to ignore a sample"
            )
        i, count = int(bad.nonzero()[0]), int(bad.sum())
        raise ValueError(
            f"the embedding of sample {i} contains NaN or infinity ({count} of {b} samples do)"
        )
    x = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    known = None if known_easiness is None else _known(known_easiness, x)
    return Samples(x, labels, known, some_ignored), all(others)


def unscaled_centres(
    centres: Tensor, bias: Tensor | None, dtype: torch.dtype, cosines: bool
) -> tuple[Centres, Tensor]:
    """The class centres in a dtype, and a scalar condition: they can be used without rescaling.

    With `cosines` the condition is that every length is 0, or can be squared and divided by without
    overflow or underflow; otherwise that no value is NaN or infinite.
    """
    rows = centres.to(dtype)
    if not cosines:
        bias = None if bias is None else bias.to(dtype)
        # The largest absolute value of a row is finite only if all its values are.
        finite = torch.linalg.vector_norm(rows.detach(), ord=torch.inf, dim=1).isfinite().all()
        return Centres(rows, bias, None), finite if bias is None else finite & bias.isfinite().all()
    lengths = torch.linalg.vector_norm(rows.detach(), dim=1)
    # 3e15 in float32: squares and their inverses stay normal numbers. GPUs may flush subnormal
    # ones to 0.
    limit = torch.finfo(dtype).max ** 0.4
    usual = (lengths == 0.0) | ((lengths > 1.0 / limit) & (lengths < limit))
    return Centres(rows, None, lengths), usual.all()


def rescued(centres: Centres, identities: range) -> Centres:
    """Rescale class centres that are too long or too short to be squared to length 1.

    Their cosines do not change.

    Parameters
    ----------
    centres : as returned by `unscaled_centres`
    identities : the identities that they belong to

    Raises
    ------
    ValueError : the class centre of an identity, which is named, contains NaN or infinity
    """
    bad = ~torch.isfinite(centres.rows.detach()).all(dim=1)
    if centres.bias is not None:
        bad |= ~torch.isfinite(centres.bias.detach())
    if bool(bad.any()):
        # Several rows may belong to one identity: len(bad) / len(identities) of them.
        i = identities[int(bad.nonzero()[0]) * len(identities) // len(bad)]
        count = int(bad.sum())
        raise ValueError(
            f"the class centre of identity {i} contains NaN or infinity ({count} centres do)"
        )
    # Plain softmax never comes this far: only a value that is not finite makes it unusual.
    rows = unit(centres.rows)
    return Centres(rows, None, torch.linalg.vector_norm(rows.detach(), dim=1))


def check_policy(policy: MarginPolicy, name: str, filters: bool) -> None:
    """Raise a ValueError if a head cannot provide what the policy requests."""
    for statistic in policy.statistics:
        if statistic not in get_args(Statistic):
            raise ValueError(
                f"{name} requests the statistic {statistic!r}; a head provides "
                f"{', '.join(get_args(Statistic))}"
            )
    check_choice(f"{name}.reduction", policy.reduction, get_args(Reduction))
    asks = policy.statistics or policy.changes_negatives or policy.offsets_classes or filters
    if not policy.uses_cosine and asks:
        raise ValueError(
            f"the logits of {name} are not cosines, so it cannot have statistics of negatives, "
            "change negatives, add a class_offset or use interclass_filtering_threshold"
        )


def _tensor(name: str, values: Any, device: torch.device) -> Tensor:
    """Return a Tensor unchanged, and a list or an array as a Tensor on the device."""
    if isinstance(values, Tensor):
        if values.device != device:
            raise ValueError(f"{name} are on {values.device}, but the embeddings on {device}")
        return values
    # A string is a sequence as well, but not of numbers.
    if isinstance(values, str) or not (
        isinstance(values, Sequence) or hasattr(values, "__array__")
    ):
        kind = type(values).__name__
        raise ValueError(f"{name} must be a Tensor, an array or a list of numbers, got {kind}")
    try:
        # A contiguous copy: `from_numpy` rejects arrays with negative strides.
        return torch.from_numpy(np.array(values, order="C")).to(device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name} must be a Tensor, an array or a list of numbers, but cannot be converted"
        ) from None


def _known(known_easiness: Any, embeddings: Tensor) -> Tensor:
    """Check the known easiness of a batch; shape (b,), in the embeddings' dtype."""
    known = _tensor("known_easiness", known_easiness, embeddings.device)
    b = len(embeddings)
    if known.shape != (b,):
        raise ValueError(f"known_easiness must have shape ({b},), got {tuple(known.shape)}")
    # Written so that NaN, which fails every comparison, counts as wrong.
    wrong = ~((known >= -1.0) & (known <= 1.0))
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise ValueError(
            f"the known easiness of sample {i} is {float(known[i]):g}: it must lie in [-1, 1]"
        )
    return known.to(embeddings)
