"""Margin heads: class centres plus a loss, ready for training."""

import inspect
from typing import Any, Literal

from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab import margins
from cdmllab.heads.base import CentreInit, MarginHead
from cdmllab.heads.blocked import BlockedHead
from cdmllab.heads.checkpoint import momenta, sharded_state_dict
from cdmllab.heads.dense import DenseHead
from cdmllab.heads.head import Head
from cdmllab.heads.output import HeadOutput
from cdmllab.heads.sharded import ShardedHead
from cdmllab.margins import MarginPolicy

__all__ = [
    "BlockedHead",
    "DenseHead",
    "Head",
    "HeadOutput",
    "MarginHead",
    "ShardedHead",
    "create",
    "momenta",
    "names",
    "sharded_state_dict",
]

_PAIR_LOSSES = ("triplet", "contrastive", "circle")


def names() -> tuple[str, ...]:
    """The names of all losses that `create` accepts: margin softmax losses, then pair losses."""
    return (*margins.names(), *_PAIR_LOSSES)


def create(
    loss: str | MarginPolicy,
    *,
    embedding_dim: int,
    num_identities: int,
    scale: float = 64.0,
    learn_scale: bool = False,
    keep_logits: bool = False,
    centre_init: CentreInit = "unit",
    interclass_filtering_threshold: float = 0.0,
    backend: Literal["dense", "blocked", "sharded"] = "dense",
    block: int | None = None,
    products: Literal["float32", "bfloat16"] = "float32",
    compiled: bool | None = None,
    sample_rate: float = 1.0,
    sample_seed: int = 0,
    class_sizes: ArrayLike | Tensor | None = None,
    **policy: object,
) -> Head:
    """Build a head for a loss, given by name or as an instance.

    Parameters
    ----------
    loss : one of `names()` or of `cdmllab.margins.recipes()`, or an instance of `MarginPolicy`
    embedding_dim, num_identities, scale, learn_scale, keep_logits, centre_init,
    interclass_filtering_threshold : see `MarginHead`
    backend : ``"dense"``, the readable reference; ``"blocked"``, which is fast and needs little
        memory; or ``"sharded"``, the blocked head with its class centres split over the ranks of
        torch.distributed
    block, products, compiled : for the blocked and the sharded backend, see `BlockedHead`
    sample_rate, sample_seed : for the sharded backend, see `ShardedHead`
    class_sizes : training images of each identity, shape (num_identities,), for the losses whose
        margin depends on them; `cdmllab.training.train` counts them
    policy : options of a loss given by name, see `cdmllab.margins.options(name)`; a pair loss
        (``"triplet"``, ``"contrastive"``, ``"circle"``, from pytorch-metric-learning) has only
        these, and no scale or backend

    Raises
    ------
    ValueError : unknown name, backend or option, a value out of range, or options for a loss that
        is given as an instance

    Examples
    --------
    >>> create("arcface", embedding_dim=512, num_identities=1000, margin_rad=0.5)
    DenseHead(arcface, dense: 512-d embeddings, 1,000 identities, scale 64)
      cos(θ + m), m = 0.5 rad (28.6°) for every sample

    A head takes embeddings of any length, and labels as an array, a list or a tensor:

    >>> import torch
    >>> out = create("cdml", embedding_dim=8, num_identities=10)(torch.randn(4, 8), [0, 3, 3, 9])
    >>> out.loss.shape, out.margin_rad.shape
    (torch.Size([]), torch.Size([4]))
    """
    if loss in _PAIR_LOSSES:
        from cdmllab.heads.pair_losses import PairHead  # the library takes a while to import

        centre_options = {
            "scale": scale,
            "learn_scale": learn_scale,
            "keep_logits": keep_logits,
            "centre_init": centre_init,
            "interclass_filtering_threshold": interclass_filtering_threshold,
            "backend": backend,
            "block": block,
            "products": products,
            "compiled": compiled,
            "sample_rate": sample_rate,
            "sample_seed": sample_seed,
        }
        # A pair loss has none of these options, so they must be at their defaults.
        defaults = inspect.signature(create).parameters
        for key, value in centre_options.items():
            if value != defaults[key].default:
                raise ValueError(
                    f"{loss} compares pairs of embeddings, without class centres: it has no {key}"
                )
        return PairHead(loss, embedding_dim=embedding_dim, num_identities=num_identities, **policy)
    if isinstance(loss, MarginPolicy):
        own = [*policy, *(["class_sizes"] if class_sizes is not None else [])]
        if own:
            raise ValueError(
                f"the loss is already an instance of {type(loss).__name__}: pass "
                f"{', '.join(own)} to its constructor instead"
            )
        instance, name = loss, loss.name or type(loss).__name__
    else:
        instance = margins.create(
            loss,
            num_identities=num_identities,
            embedding_dim=embedding_dim,
            class_sizes=class_sizes,
            scale=scale,
            **policy,
        )
        name = loss
    common: dict[str, Any] = {
        "name": name,
        "embedding_dim": embedding_dim,
        "num_identities": num_identities,
        "scale": scale,
        "learn_scale": learn_scale,
        "keep_logits": keep_logits,
        "centre_init": centre_init,
        "interclass_filtering_threshold": interclass_filtering_threshold,
    }
    if backend not in ("dense", "blocked", "sharded"):
        raise ValueError(f"unknown backend {backend!r}: choose 'dense', 'blocked' or 'sharded'")
    # Options that a backend does not have must be at their defaults as well.
    if backend == "sharded":
        common |= {"sample_rate": sample_rate, "sample_seed": sample_seed}
    elif sample_rate != 1.0 or sample_seed:
        raise ValueError("sample_rate and sample_seed are options of backend='sharded'")
    if backend == "dense":
        if block is not None or products != "float32" or compiled is not None:
            raise ValueError(
                "block, products and compiled are options of backend='blocked' and 'sharded'"
            )
        return DenseHead(instance, **common)
    kind = BlockedHead if backend == "blocked" else ShardedHead
    return kind(instance, block=block, products=products, compiled=compiled, **common)
