"""The learning rate at every step, as a function of the step alone: nothing to save, nothing to
resume.
"""

import math

from cdmllab.training.config import OptimiserConfig


def learning_rate(
    optimiser: OptimiserConfig, step: int, steps_an_epoch: int, epochs: int, effective_batch: int
) -> float:
    """The rate of one step.

    Parameters
    ----------
    optimiser : the config's part
    step : counted from 0
    steps_an_epoch, epochs : of the whole run
    effective_batch : images a step, over all processes and accumulated batches
    """
    o = optimiser
    rate = o.lr * (effective_batch / o.reference_batch if o.reference_batch else 1.0)
    warmup = o.warmup_epochs * steps_an_epoch
    if step < warmup:
        return rate * (step + 1) / warmup if warmup >= 1.0 else rate
    if o.schedule == "multistep":
        return rate * math.pow(o.gamma, sum(step >= m * steps_an_epoch for m in o.milestones))
    share = (step - warmup) / max(epochs * steps_an_epoch - warmup, 1.0)
    if o.schedule == "polynomial":
        return rate * math.pow(1.0 - share, o.power)
    return rate * 0.5 * (1.0 + math.cos(math.pi * share))
