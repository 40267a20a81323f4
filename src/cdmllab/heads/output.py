"""The output of a head, and the intermediate results of its steps."""

from typing import Any, NamedTuple

from torch import Tensor

from cdmllab.margins import Batch


class Started(NamedTuple):
    """A batch of n samples, none ignored, before its negatives have been computed."""

    batch: Batch
    work: Any  # the backend's own intermediate results


class Seen(NamedTuple):
    """The same batch after its negatives have been reduced."""

    batch: Batch  # with the statistics that the policy requests
    target: Tensor  # [n] cosine to the positive centre, with a gradient; for plain softmax: logit
    negatives: Tensor  # [n] reduced logits of the negatives, see `MarginPolicy`
    logits: Tensor | None  # [n, c] before the margin, detached


class HeadOutput(NamedTuple):
    """The result of a head's forward pass.

    `loss` and `sample_loss` have a gradient and include the loss's own regulariser; the rest is
    detached. Ignored samples have NaN in every per-sample tensor, and NaN times 0 is NaN, so remove
    them before you weight, sort or sum::

        kept = labels != -1
        loss = (weights[kept] * out.sample_loss[kept]).mean()  # re-weighting
        loss = out.sample_loss[kept].topk(32).values.mean()  # the 32 hardest samples
    """

    loss: Tensor  # [] mean over the samples that are not ignored; 0 without any
    sample_loss: Tensor  # [b]
    target_cos: Tensor  # [b] cosine to the positive centre, before the margin
    margin_rad: Tensor  # [b] angle that the margin added to the target's, radians
    easiness: Tensor | None  # [b] in [-1, 1], for losses that define it
    logits: Tensor | None  # [b, c] before the margin, with keep_logits=True
