"""What becomes of cos(theta + m) where theta is 0 or pi: the arc cosine's slope there is
infinite.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Survey(NamedTuple):
    """How many of some samples came out how."""

    samples: int
    exactly_one: int  # |cosine| is 1
    above_one: int  # |cosine| was rounded to more than 1
    nan_targets: int
    nan_gradients: int  # on the embedding


def survey(
    target: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    *,
    samples: int = 1000,
    embedding_dim: int = 512,
    opposite: bool = False,
    seed: int = 0,
) -> Survey:
    """Put random embeddings on their own class centres and see what the target and its gradient
    are.

    Embedding, class centre, cosine and target are all computed in `dtype`, as under a careless
    autocast.

    Parameters
    ----------
    target : the way to compute the margined cosine: shape (n,) to (n,)
    dtype : floating point
    samples, embedding_dim : n and d
    opposite : put the class centres at 180 degrees instead
    seed : of the embeddings
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, embedding_dim, generator=generator).to(dtype).requires_grad_()
    centres = F.normalize(-x.detach() if opposite else x.detach())
    cosines = (F.normalize(x) * centres).sum(dim=1)
    margined = target(cosines)
    (gradient,) = torch.autograd.grad(margined.sum(), x)
    size = cosines.detach().abs()
    return Survey(
        samples,
        int((size == 1.0).sum()),
        int((size > 1.0).sum()),
        int(margined.isnan().sum()),
        int(gradient.isnan().any(dim=1).sum()),
    )
