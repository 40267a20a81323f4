"""Margin heads: class centres plus a loss, ready to train with."""

from cdmllab import margins
from cdmllab.heads.base import HeadOutput, MarginHead
from cdmllab.heads.dense import DenseHead

__all__ = ["DenseHead", "HeadOutput", "MarginHead", "create"]

_BACKENDS: dict[str, type[MarginHead]] = {"dense": DenseHead}


def create(
    name: str,
    *,
    embedding_dim: int,
    num_identities: int,
    scale: float = 64.0,
    backend: str = "dense",
    keep_logits: bool = False,
    **policy: object,
) -> MarginHead:
    """Build a head by the name of its loss.

    Parameters
    ----------
    name : the loss, one of `cdmllab.margins.names()`
    embedding_dim, num_identities, scale, keep_logits : see `MarginHead`
    backend : ``"dense"``, the readable reference
    policy : options of the loss, see `cdmllab.margins.options(name)`

    Raises
    ------
    ValueError : unknown name, backend or option, or a value out of range

    Examples
    --------
    >>> create("arcface", embedding_dim=512, num_identities=1000, margin_rad=0.5)
    DenseHead(arcface, dense: 512-d embeddings, 1,000 identities, scale 64)
      cos(θ + m), m = 0.5 rad (28.6°) for every sample
    """
    if backend not in _BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; there are: {', '.join(_BACKENDS)}")
    loss = margins.create(name, num_identities=num_identities, **policy)
    return _BACKENDS[backend](
        loss,
        name=name,
        embedding_dim=embedding_dim,
        num_identities=num_identities,
        scale=scale,
        keep_logits=keep_logits,
    )
