"""What every head shares: class centres, the checks on a batch, and the output."""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from cdmllab.geometry import unit
from cdmllab.margins import Batch, MarginPolicy
from cdmllab.margins.policy import check_choice

IGNORE = -1
CentreInit = Literal["unit", "normal_0.01"]


class Losses(NamedTuple):
    """What a backend computes for the samples that count; n of them."""

    sample_loss: Tensor  # [n]
    batch: Batch
    logits: Tensor | None  # [n, c] before the margin, detached


class HeadOutput(NamedTuple):
    """What a head returns. The per-sample tensors are detached; ignored samples hold NaN."""

    loss: Tensor  # [] mean over the samples that are not ignored; 0 if there are none
    sample_loss: Tensor  # [b]
    target_cos: Tensor  # [b] cosine to the own class centre, before the margin
    margin_rad: Tensor  # [b] angle by which the target was pushed back, radians
    easiness: Tensor | None  # [b] in [-1, 1], for losses that have it
    logits: Tensor | None  # [b, c] before the margin, on request


class MarginHead(nn.Module):
    """Class centres and a margin policy: embeddings and labels in, a loss out.

    Parameters
    ----------
    policy : the loss, from `cdmllab.margins`
    embedding_dim : d
    num_identities : c
    scale : s in logit = s x cosine
    learn_scale : make s a parameter (NormFace's choice), starting at `scale`
    keep_logits : also return the plain logits [b, c], detached, for accuracy and plots
    centre_init : how the class centres are drawn, every coordinate from a normal distribution with mean 0: ``"unit"``
        with a standard deviation of 1/sqrt(d), so that they have a length of about 1 for every d; ``"normal_0.01"``
        with 0.01, a length of 0.226 at d = 512. The latter is what arcface_torch_ and, before it, the MXNet_ code of
        ArcFace's authors do. The length of a centre does not change its cosines, but an SGD step turns a centre of
        length 0.226 about twenty times as far (1 / 0.226^2) as one of length 1.

    .. _arcface_torch: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/partial_fc_v2.py
    .. _MXNet: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_mxnet/train.py

    `progress` in [0, 1] tells scheduled losses how far the training is; the training loop sets it.
    """

    progress: Tensor
    backend = "none"

    def __init__(
        self,
        policy: MarginPolicy,
        *,
        name: str,
        embedding_dim: int,
        num_identities: int,
        scale: float = 64.0,
        learn_scale: bool = False,
        keep_logits: bool = False,
        centre_init: CentreInit = "unit",
    ) -> None:
        super().__init__()
        for what, value, least in (
            ("embedding_dim", embedding_dim, 1),
            ("num_identities", num_identities, 2),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{what} must be a whole number of at least {least}, got {value!r}")
        if not isinstance(scale, int | float) or not (scale > 0.0 and math.isfinite(scale)):
            raise ValueError(f"scale must be a positive number, got {scale!r}")
        check_choice("centre_init", centre_init, get_args(CentreInit))
        self.policy, self.name = policy, name
        self.embedding_dim, self.num_identities = embedding_dim, num_identities
        self.keep_logits, self.centre_init = keep_logits, centre_init
        self.centres = nn.Parameter(self._first_centres())
        self.bias = None if policy.uses_cosine else nn.Parameter(torch.zeros(len(self.centres)))
        self.scale: Tensor
        if learn_scale:
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        else:
            self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("progress", torch.zeros(()))
        self._numbers: dict[str, tuple[Tensor, int, float]] = {}

    def _first_centres(self) -> Tensor:
        """Where the class centres start, shape (c K, d); the K centres of an identity follow one another."""
        rows = self.num_identities * self.policy.centres_per_identity
        return torch.randn(rows, self.embedding_dim) / self._shrink

    @property
    def _shrink(self) -> float:
        """What standard normal coordinates are divided by to become those of a first class centre."""
        return math.sqrt(self.embedding_dim) if self.centre_init == "unit" else 100.0

    def set_progress(self, progress: float) -> None:
        """Tell scheduled losses how much of the training is done, in [0, 1]."""
        if not 0.0 <= progress <= 1.0:
            raise ValueError(f"progress must lie in [0, 1], got {progress}")
        self.progress.fill_(progress)
        value = float(torch.as_tensor(progress, dtype=self.progress.dtype))
        self._numbers["progress"] = (self.progress, self.progress._version, value)

    def _number(self, name: str, scalar: Tensor) -> float:
        """A scalar tensor's value, asked of the device only when it has changed: the answer keeps a GPU waiting."""
        if scalar.requires_grad:  # learned: it changes with every step
            return float(scalar.detach())
        known = self._numbers.get(name)
        if known is None or known[0] is not scalar or known[1] != scalar._version:
            known = self._numbers[name] = (scalar, scalar._version, float(scalar))
        return known[2]

    def forward(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None = None) -> HeadOutput:
        """Loss of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (b, d), any float dtype; worked on in float32 (float64 stays), whatever
            autocast is on
        labels : integer Tensor of shape (b,) or (b, 1); -1 ignores a sample
        known_easiness : the true easiness of each sample, shape (b,), in [-1, 1], for an oracle margin

        Raises
        ------
        ValueError : naming the sample and what was expected
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            return self._output(*self._checked(embeddings, labels, known_easiness))

    def _checked(
        self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, bool]:
        embeddings, labels, some_ignored = check_batch(embeddings, labels, self.embedding_dim, self.num_identities)
        known = None if known_easiness is None else check_known(known_easiness, embeddings)
        return embeddings, labels, known, some_ignored

    def _output(
        self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None, some_ignored: bool = True
    ) -> HeadOutput:
        kept = labels != IGNORE if some_ignored else slice(None)
        known = None if known_easiness is None else known_easiness[kept]
        found = self.losses(embeddings[kept], labels[kept], known)
        extra = self.policy.regulariser(found.batch)
        sample_loss = found.sample_loss if extra is None else found.sample_loss + extra
        easiness = self.policy.easiness(found.batch)

        def spread(values: Tensor) -> Tensor:
            if len(values) == len(labels):
                return values.detach()
            full = values.new_full((len(labels), *values.shape[1:]), torch.nan)
            full[kept] = values.detach()
            return full

        return HeadOutput(
            loss=sample_loss.sum() / max(len(sample_loss), 1),
            sample_loss=spread(sample_loss),
            target_cos=spread(found.batch.target_cos),
            margin_rad=spread(self.policy.margin_rad(found.batch)),
            easiness=None if easiness is None else spread(easiness),
            logits=None if found.logits is None else spread(found.logits),
        )

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, block: int = 8192) -> Tensor:
        """The identity whose class centre is nearest (for plain softmax, whose logit is largest); (b, d) to (b,)."""
        return self._nearest_here(embeddings, block)[1]

    def _nearest_here(self, embeddings: Tensor, block: int) -> tuple[Tensor, Tensor]:
        """Of the centres in `self.centres`: the largest cosine (or logit) and its identity; (b, d) to (b,), (b,)."""
        k = self.policy.centres_per_identity
        x = embeddings.detach().to(self.centres.dtype)
        best, which = x.new_full((len(x),), -torch.inf), torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for first in range(0, len(self.centres), block * k):
            part = self.centres[first : first + block * k]
            products = x @ (part if self.bias is not None else unit(part)).T
            if self.bias is not None:
                products += self.bias[first : first + block]
            top = products.max(dim=1)
            which = torch.where(top.values > best, (top.indices + first) // k, which)
            best = torch.maximum(best, top.values)
        return best, which

    def losses(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None) -> Losses:
        """The backend's part: checked embeddings [n, d], labels [n] and known easiness [n], none ignored."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        scale = f", scale {float(self.scale):g}" if self.policy.uses_cosine else ""
        return (
            f"{self.name}, {self.backend}: {self.embedding_dim}-d embeddings, {self.num_identities:,} identities{scale}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})\n  {self.policy.describe()}"


def check_batch(
    embeddings: Tensor, labels: Tensor, embedding_dim: int, num_identities: int
) -> tuple[Tensor, Tensor, bool]:
    """Float32 (or float64) embeddings (b, d), int64 labels (b,), and whether some of those are to be ignored.

    Raises
    ------
    ValueError : saying what is wrong
    """
    d = embedding_dim
    if embeddings.ndim != 2 or embeddings.shape[1] != d:
        raise ValueError(f"embeddings must have shape (b, {d}), got {tuple(embeddings.shape)}")
    if not embeddings.is_floating_point():
        raise ValueError(f"embeddings must be floating point, got {embeddings.dtype}")
    b = embeddings.shape[0]
    if labels.shape not in ((b,), (b, 1)):
        raise ValueError(f"labels must have shape ({b},) or ({b}, 1), got {tuple(labels.shape)}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    labels = labels.reshape(b).long()
    wrong = (labels < IGNORE) | (labels >= num_identities)
    bad = ~torch.isfinite(embeddings).all(dim=1) & (labels != IGNORE)
    some_wrong, some_ignored = torch.stack([(wrong | bad).any(), (labels == IGNORE).any()]).tolist()  # one look for all
    if some_wrong:
        if bool(wrong.any()):
            i = int(wrong.nonzero()[0])
            raise ValueError(
                f"label {int(labels[i])} of sample {i} is out of range: allowed are 0 to "
                f"{num_identities - 1}, and {IGNORE} to ignore a sample"
            )
        i = int(bad.nonzero()[0])
        raise ValueError(f"the embedding of sample {i} holds NaN or infinity ({int(bad.sum())} such of {b})")
    return (embeddings if embeddings.dtype == torch.float64 else embeddings.float()), labels, some_ignored


def check_known(known_easiness: Tensor, embeddings: Tensor) -> Tensor:
    """Known easiness (b,) in the embeddings' dtype, or a ValueError that says what is wrong."""
    b = len(embeddings)
    if known_easiness.shape != (b,):
        raise ValueError(f"known_easiness must have shape ({b},), got {tuple(known_easiness.shape)}")
    wrong = ~((known_easiness >= -1.0) & (known_easiness <= 1.0))
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise ValueError(f"the known easiness of sample {i} is {float(known_easiness[i]):g}: it must lie in [-1, 1]")
    return known_easiness.to(embeddings)
