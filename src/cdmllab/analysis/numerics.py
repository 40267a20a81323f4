"""Numerics of cos(theta + m) at theta = 0 and pi, where the arc cosine has infinite slope."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Survey(NamedTuple):
    """Counts of exceptional values among the samples."""

    samples: int
    exactly_one: int  # |cosine| is 1
    above_one: int  # |cosine| was rounded to more than 1
    nan_targets: int
    nan_gradients: int  # gradients with respect to the embedding


def survey(
    target: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    *,
    samples: int = 1000,
    embedding_dim: int = 512,
    opposite: bool = False,
    seed: int = 0,
) -> Survey:
    """Place random embeddings on their target centres and count NaN targets and gradients.

    Embeddings, centres, cosines and targets are all computed in `dtype`, as they would be under a
    careless autocast.

    Parameters
    ----------
    target : the implementation of the margined cosine to test, shape (n,) to (n,)
    dtype : a floating-point type
    samples, embedding_dim : n and d
    opposite : place the centres at 180 degrees instead
    seed : seed of the embeddings
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, embedding_dim, generator=generator).to(dtype).requires_grad_()
    # The centre of each sample is its own embedding: the true cosine is exactly 1 (or -1).
    centres = F.normalize(-x.detach() if opposite else x.detach())
    cosines = (F.normalize(x) * centres).sum(dim=1)
    margined = target(cosines)
    (gradient,) = torch.autograd.grad(margined.sum(), x)
    magnitude = cosines.detach().abs()
    return Survey(
        samples,
        int((magnitude == 1.0).sum()),
        int((magnitude > 1.0).sum()),
        int(margined.isnan().sum()),
        int(gradient.isnan().any(dim=1).sum()),
    )
