"""How many training images each identity has, for the losses whose margin depends on that."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class ClassSizes(nn.Module):
    """The training images of every identity; a buffer, so that `state_dict` carries it.

    Until they are known all identities count as equally large. A loss that needs them calls
    `require` when it observes a training batch.

    Parameters
    ----------
    num_identities : c
    class_sizes : whole numbers of shape (c,); None leaves them unknown. An identity without images
        counts as large as the smallest that has some.

    Raises
    ------
    ValueError : sizes that are no whole numbers, of another shape, below 0 or all 0
    """

    count: Tensor

    def __init__(self, num_identities: int, class_sizes: ArrayLike | Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(num_identities, dtype=torch.int64))
        # The last answer of `known`, and for which tensor and version.
        self._looked: tuple[Tensor, int, bool] | None = None
        if class_sizes is not None:
            self.count.copy_(_checked(class_sizes, num_identities))

    @property
    def known(self) -> bool:
        """Whether the sizes were given; asks the device again only when they have changed."""
        last = self._looked
        if last is None or last[0] is not self.count or last[1] != self.count._version:
            last = self._looked = (self.count, self.count._version, bool((self.count > 0).any()))
        return last[2]

    def require(self, name: str) -> None:
        """Raise a ValueError that says how to give the loss `name` its sizes, if it has none."""
        if not self.known:
            raise ValueError(
                f"{name} needs the number of training images of each identity: give class_sizes"
            )

    def sizes(self) -> Tensor:
        """The images of each identity, float64 of shape (c,); all 1 while they are not known."""
        if not self.known:
            return torch.ones_like(self.count, dtype=torch.float64)
        # The smallest class with images: empty ones count as the largest in this minimum.
        least = torch.where(self.count > 0, self.count, self.count.max()).min()
        return self.count.clamp_min(least).double()


def _checked(class_sizes: ArrayLike | Tensor, num_identities: int) -> Tensor:
    given = class_sizes.cpu().numpy() if isinstance(class_sizes, Tensor) else class_sizes
    sizes = np.asarray(given)
    if sizes.dtype.kind not in "iu":  # signed or unsigned integers
        raise ValueError(f"class_sizes must be whole numbers, got {sizes.dtype}")
    if sizes.shape != (num_identities,):
        raise ValueError(f"class_sizes must have shape ({num_identities},), got {sizes.shape}")
    if sizes.min() < 0:
        identity = int(sizes.argmin())
        raise ValueError(f"identity {identity} has {sizes[identity]} images in class_sizes")
    if not sizes.any():
        raise ValueError("class_sizes are all 0")
    return torch.from_numpy(sizes.astype(np.int64))
