"""What a head returns, and what it hands on while it works."""

from typing import Any, NamedTuple

from torch import Tensor

from cdmllab.margins import Batch


class Started(NamedTuple):
    """A batch of n samples that count, as far as it is known before its negatives are looked at."""

    batch: Batch
    work: Any  # what the backend goes on with


class Seen(NamedTuple):
    """The same after a look at the negatives."""

    batch: Batch  # with the statistics that the policy wants
    target: (
        Tensor  # [n] cosine to the positive centre with its gradient; for plain softmax the logit
    )
    negatives: Tensor  # [n] what the logits of the negatives are reduced to, see `MarginPolicy`
    logits: Tensor | None  # [n, c] before the margin, detached


class HeadOutput(NamedTuple):
    """What a head returns.

    `loss` and `sample_loss` carry the gradient, with the loss's own regulariser; the rest is
    detached. Ignored samples hold NaN, which survives a multiplication by 0, so leave them out
    before you weigh, sort or sum::

        kept = labels != -1
        loss = (weights[kept] * out.sample_loss[kept]).mean()  # re-weighting
        loss = out.sample_loss[kept].topk(32).values.mean()  # the 32 hardest samples
    """

    loss: Tensor  # [] mean over the samples that are not ignored; 0 if there are none
    sample_loss: Tensor  # [b]
    target_cos: Tensor  # [b] cosine to the positive centre, before the margin
    margin_rad: Tensor  # [b] angle by which the target was pushed back, radians
    easiness: Tensor | None  # [b] in [-1, 1], for losses that have it
    logits: Tensor | None  # [b, c] before the margin, on request
