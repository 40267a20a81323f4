"""The base of all margin heads: class centres, the order of a training step, and the output."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cdmllab.geometry import cosine, unit
from cdmllab.heads.checks import (
    IGNORE,
    Centres,
    Samples,
    check_batch,
    check_embeddings,
    check_policy,
    rescued,
    unscaled_centres,
)
from cdmllab.heads.head import Head
from cdmllab.heads.output import HeadOutput, Seen, Started
from cdmllab.margins import MarginPolicy
from cdmllab.margins.policy import check_choice, check_range

CentreInit = Literal["unit", "normal_0.01"]


class MarginHead(Head):
    """Class centres and a margin policy: takes embeddings and labels, returns a loss.

    Parameters
    ----------
    policy : the loss, from `cdmllab.margins`
    embedding_dim : d
    num_identities : c
    scale : s in logit = s x cosine
    learn_scale : make s a trainable parameter (as NormFace does), starting at `scale`
    keep_logits : also return the plain logits [b, c], detached, for accuracy and plots
    centre_init : the standard deviation of the normal distribution with mean 0 from which every
        coordinate of a class centre is drawn: ``"unit"`` uses 1/sqrt(d), which gives a length of
        about 1 for any d; ``"normal_0.01"`` uses 0.01, which gives a length of 0.226 at d = 512.
        arcface_torch_ does the latter, and so did the earlier MXNet_ code of ArcFace's authors. The
        length of a centre does not change its cosines, but one step of SGD turns a centre of length
        0.226 about twenty times (1 / 0.226^2) as far as a centre of length 1.
    interclass_filtering_threshold : arcface_torch's option of the same name. A negative whose
        cosine is above it is set to a cosine of 0, without a gradient, because it may be the same
        person under another label. The loss's own change of the negatives and its statistics see
        the 0. In [0, 1]; 0 disables the filter.

    `progress` in [0, 1] is the completed share of the training, for losses with a schedule; the
    training loop sets it.

    .. _arcface_torch: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/partial_fc_v2.py
    .. _MXNet: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_mxnet/train.py
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
        interclass_filtering_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        # What a head can check by itself; the policy has checked its own options.
        for option, value, least in (
            ("embedding_dim", embedding_dim, 1),
            ("num_identities", num_identities, 2),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{option} must be an integer of at least {least}, got {value!r}")
        if not isinstance(scale, int | float) or not (scale > 0.0 and math.isfinite(scale)):
            raise ValueError(f"scale must be a positive number, got {scale!r}")
        check_choice("centre_init", centre_init, get_args(CentreInit))
        check_range("interclass_filtering_threshold", interclass_filtering_threshold, 0.0, 1.0)
        check_policy(policy, name, interclass_filtering_threshold > 0.0)
        self.policy, self.name = policy, name
        self.embedding_dim, self.num_identities = embedding_dim, num_identities
        self.keep_logits, self.centre_init = keep_logits, centre_init
        self.interclass_filtering_threshold = float(interclass_filtering_threshold)
        self.centres = nn.Parameter(self._first_centres())  # [c K, d]
        self.bias = None if policy.uses_cosine else nn.Parameter(torch.zeros(len(self.centres)))
        self.scale: Tensor
        # A buffer otherwise, so that `state_dict` includes the scale in either case.
        if learn_scale:
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        else:
            self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("progress", torch.zeros(()))
        # Scalars read from the device, by name: tensor, version and value, see `_number`.
        self._numbers: dict[str, tuple[Tensor, int, float]] = {}

    def _first_centres(self) -> Tensor:
        """Initial class centres, shape (c K, d), with the K centres of an identity together."""
        rows = self.num_identities * self.policy.centres_per_identity
        return torch.randn(rows, self.embedding_dim) / self._shrink

    @property
    def _shrink(self) -> float:
        """The divisor that turns standard normal coordinates into those of an initial centre."""
        return math.sqrt(self.embedding_dim) if self.centre_init == "unit" else 100.0

    def set_progress(self, progress: float) -> None:
        """Set the completed share of the training, in [0, 1], for losses with a schedule."""
        if not 0.0 <= progress <= 1.0:
            raise ValueError(f"progress must lie in [0, 1], got {progress}")
        self.progress.fill_(progress)
        # Rounded to float32 like the buffer, so that a resumed head computes with the same number.
        value = float(torch.as_tensor(progress, dtype=self.progress.dtype))
        self._numbers["progress"] = (self.progress, self.progress._version, value)

    def _number(self, name: str, scalar: Tensor) -> float:
        """The value of a scalar tensor, read from the device only after it has changed.

        Reading from a GPU waits for all its pending work. `_version` counts the in-place changes of
        a tensor, so it is a cheap test for a change.
        """
        if scalar.requires_grad:  # a learned scalar changes with every step
            return float(scalar.detach())
        known = self._numbers.get(name)
        # `load_state_dict` changes a tensor in place, `to` replaces it: both are noticed.
        if known is None or known[0] is not scalar or known[1] != scalar._version:
            known = self._numbers[name] = (scalar, scalar._version, float(scalar))
        return known[2]

    def forward(self, embeddings: Tensor, labels: Any, known_easiness: Any = None) -> HeadOutput:
        """Loss of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (b, d), any float dtype; the loss is computed in float32 (in
            float64 for float64), also under autocast
        labels : integer Tensor, array or list of shape (b,) or (b, 1); -1 ignores a sample
        known_easiness : the true easiness of each sample, shape (b,), in [-1, 1], for an oracle
            margin

        Raises
        ------
        ValueError : the batch is invalid (naming the sample and what was expected), or the class
            centre of an identity contains NaN or infinity
        """
        with torch.autocast(self.centres.device.type, enabled=False):
            return self._output(*self._checked(embeddings, labels, known_easiness))

    def _checked(
        self, embeddings: Tensor, labels: Any, known_easiness: Any
    ) -> tuple[Samples, Centres]:
        dtype = check_embeddings(embeddings, self.embedding_dim, self.centres.device)
        # A single wait for the device: this condition is read together with the flags of the batch.
        centres, usual = unscaled_centres(self.centres, self.bias, dtype, self.policy.uses_cosine)
        samples, all_usual = check_batch(
            embeddings, labels, known_easiness, self.num_identities, usual
        )
        # Rescaling copies all centres, so it is done only if a length (or a NaN) asks for it.
        return samples, centres if all_usual else rescued(centres, self.identities_here)

    @property
    def identities_here(self) -> range:
        """The identities whose class centres are in `centres`."""
        return range(self.num_identities)

    def _output(self, samples: Samples, centres: Centres) -> HeadOutput:
        # Ignored samples are left out of the computation; `spread` returns them as NaN.
        sample_loss, seen = self.losses(samples.kept(), centres)
        extra = self.policy.regulariser(seen.batch)
        if extra is not None:
            sample_loss = sample_loss + extra
        easiness = self.policy.easiness(seen.batch)
        labels = samples.labels

        def spread(values: Tensor) -> Tensor:
            if len(values) == len(labels):  # none is ignored
                return values
            full = values.new_full((len(labels), *values.shape[1:]), torch.nan)
            full[labels != IGNORE] = values
            return full

        return HeadOutput(
            loss=sample_loss.sum() / max(len(sample_loss), 1),  # a mean of nothing would be NaN
            sample_loss=spread(sample_loss),
            target_cos=spread(seen.batch.target_cos.detach()),
            margin_rad=spread(self.policy.margin_rad(seen.batch).detach()),
            easiness=None if easiness is None else spread(easiness.detach()),
            logits=None if seen.logits is None else spread(seen.logits),
        )

    def losses(self, samples: Samples, centres: Centres) -> tuple[Tensor, Seen]:
        """Loss of each of n samples, none of them ignored, and the intermediate results.

        This method alone decides when a policy observes a training batch: once, before its `target`
        and its scale are used, and with the statistics that it requests. A policy that changes
        negatives observes before any negative is computed, and therefore without statistics. A
        policy that derives the scale from its statistics costs a second pass over the negatives.
        """
        policy = self.policy
        started = self._start(samples, centres)
        afterwards = bool(policy.statistics) and not policy.changes_negatives
        # Observe before the negatives are computed, or, for a policy that sets the scale, after a
        # first pass over them at the previous scale.
        if self.training and (policy.sets_scale or not afterwards):
            with torch.no_grad():
                policy.observe(
                    self._look(started, keep=False).batch if afterwards else started.batch
                )
        seen = self._look(started, keep=self.keep_logits)
        # In all other cases a single pass serves both the statistics and the loss.
        if self.training and afterwards and not policy.sets_scale:
            with torch.no_grad():
                policy.observe(seen.batch)
        return policy.sample_loss(self._positive_logit(started, seen), seen.negatives), seen

    def _positive_logit(self, started: Started, seen: Seen) -> Tensor:
        """The logit of each positive centre after the margin, shape (n,)."""
        if not self.policy.uses_cosine:  # plain softmax: neither scale nor margin
            return seen.target
        scale = self.policy.current_scale(self.scale).to(seen.target.dtype)
        logit = scale * self.policy.margined(seen.target, seen.batch)
        offset = self.policy.class_offset()
        return logit if offset is None else logit + offset[seen.batch.labels].to(logit.dtype)

    def _start(self, samples: Samples, centres: Centres) -> Started:
        """The batch without statistics."""
        raise NotImplementedError

    def _look(self, started: Started, keep: bool) -> Seen:
        """Reduce the negatives at the current scale; keep the logits only with `keep`."""
        raise NotImplementedError

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits without labels and without a margin, scale x cosine; shape (b, d) to (b, c).

        With several centres per identity the nearest one counts; for plain softmax the logit is
        w.x + b. Differentiable with respect to embeddings, class centres and a learned scale. All
        b x c logits are in memory at once.
        """
        dtype = check_embeddings(embeddings, self.embedding_dim, self.centres.device)
        with torch.autocast(self.centres.device.type, enabled=False):
            x, rows = embeddings.to(dtype), self.centres.to(dtype)
            if self.bias is not None:
                return x @ rows.T + self.bias.to(dtype)
            k = self.policy.centres_per_identity
            cosines = cosine(x, rows).unflatten(1, (len(rows) // k, k)).amax(dim=2)  # [b, c]
            scaled: Tensor = self.policy.current_scale(self.scale).to(dtype) * cosines
            return scaled

    @torch.no_grad()
    def directions(self) -> Tensor:
        """The class centres at length 1, detached; shape (c, K, d).

        A sharded head returns those that this rank holds.
        """
        return self.global_view(unit(self.centres.detach()))

    def global_view(self, part: Tensor) -> Tensor:
        """A view of class centres as (c, K, d); a bias stays as it is."""
        k = self.policy.centres_per_identity
        return part if part.ndim == 1 else part.view(-1, k, self.embedding_dim)

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, block: int = 8192) -> Tensor:
        """The identity with the nearest class centre; shape (b, d) to (b,).

        For plain softmax it is the identity with the largest logit.
        """
        return self._nearest_here(embeddings, block)[1]

    def _nearest_here(self, embeddings: Tensor, block: int) -> tuple[Tensor, Tensor]:
        """The largest cosine (or logit) among `self.centres` and its identity; (b,) each."""
        k = self.policy.centres_per_identity
        x = embeddings.detach().to(self.centres.dtype)
        best, nearest = (
            x.new_full((len(x),), -torch.inf),
            torch.zeros(len(x), dtype=torch.int64, device=x.device),
        )
        # One block of centres at a time bounds the memory to b x (block K) scores.
        for first in range(0, len(self.centres), block * k):
            part = self.centres[first : first + block * k]
            scores = x @ (part if self.bias is not None else unit(part)).T  # [b, block K]
            if self.bias is not None:
                scores += self.bias[first : first + block]
            top = scores.max(dim=1)
            # With `>` a tie between blocks keeps the first identity.
            nearest = torch.where(top.values > best, (top.indices + first) // k, nearest)
            best = torch.maximum(best, top.values)
        return best, nearest

    def extra_repr(self) -> str:
        scale = f", scale {float(self.scale):g}" if self.policy.uses_cosine else ""
        return (
            f"{self.name}, {self.backend}: {self.embedding_dim}-d embeddings, "
            f"{self.num_identities:,} identities{scale}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})\n  {self.policy.describe()}"
