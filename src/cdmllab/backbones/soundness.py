"""Whether a network's numbers can work at all: a broken training or a damaged file leaves
others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from cdmllab.errors import CdmlLabError


def check(state: Mapping[str, Tensor], where: object) -> None:
    """See that every embedding of a network can be a number.

    Parameters
    ----------
    state : the network's parameters and buffers by name
    where : the file, for the complaint

    Raises
    ------
    CdmlLabError : a tensor with NaN or infinite values, or a negative variance; the first is named
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            raise CdmlLabError(
                f"{where}: {wrong:,} of the {tensor.numel():,} values of {name} are NaN or "
                f"infinite,"
                " so no embedding of this network would be a number"
            )
        if name.endswith("running_var") and (tensor < 0).any():
            raise CdmlLabError(
                f"{where}: {name} holds negative variances, so no embedding of this network would "
                f"be a number"
            )
