"""A check that parameters are usable, against diverged training and damaged files."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cdmllab.errors import CdmlLabError


def check(state: Mapping[str, Tensor], where: object) -> None:
    """Check that a network's parameters are finite and its running variances not negative.

    Parameters
    ----------
    state : the network's parameters and buffers by name
    where : the file, for the error message

    Raises
    ------
    CdmlLabError : naming the first tensor with NaN, infinite values or a negative variance
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point():  # BatchNorm's counters
            continue
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            raise CdmlLabError(
                f"{where}: {wrong:,} of the {tensor.numel():,} values of {name} are NaN or "
                f"infinite, so the network cannot compute embeddings"
            )
        if name.endswith("running_var") and (tensor < 0).any():
            raise CdmlLabError(
                f"{where}: {name} contains negative variances, so the network cannot compute "
                f"embeddings"
            )
