"""The learning rate as a function of the step alone, so that there is no state to checkpoint."""

import math

from cdmllab.training.config_sections import OptimiserConfig


def learning_rate(
    optimiser: OptimiserConfig, step: int, steps_an_epoch: int, epochs: int, effective_batch: int
) -> float:
    """The learning rate of a step.

    Parameters
    ----------
    optimiser : the section of the config
    step : counted from 0
    steps_an_epoch, epochs : of the run
    effective_batch : images per step, over all processes and accumulated batches
    """
    o = optimiser
    rate = o.lr * (effective_batch / o.reference_batch if o.reference_batch else 1.0)
    warmup = o.warmup_epochs * steps_an_epoch
    if step < warmup:
        # A warm-up of less than one step has no effect.
        return rate * (step + 1) / warmup if warmup >= 1.0 else rate
    if o.schedule == "multistep":
        # gamma for every milestone that has passed.
        return rate * math.pow(o.gamma, sum(step >= m * steps_an_epoch for m in o.milestones))
    # The share of the decay that is over, counted from the end of the warm-up.
    share = (step - warmup) / max(epochs * steps_an_epoch - warmup, 1.0)
    if o.schedule == "polynomial":
        return rate * math.pow(1.0 - share, o.power)
    return rate * 0.5 * (1.0 + math.cos(math.pi * share))
