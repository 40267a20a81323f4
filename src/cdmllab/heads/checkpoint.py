"""A head's state in a form that is stored by some number of ranks and read by another."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import SGD

from cdmllab.heads.head import Head


def sharded_state_dict(head: Head, optimiser: SGD | None = None) -> dict[str, Tensor]:
    """Views of everything a head (and its momentum) has learnt, to save from and to load into.

    ``checkpoint.write(folder, {"head": sharded_state_dict(head, optimiser)})`` writes it, each rank
    its part; ``checkpoint.read`` of the same expression on another number of ranks fills head and
    optimiser in place, and nothing is left to do. `checkpoint` is `cdmllab.training.checkpoint`;
    ``torch.distributed.checkpoint`` takes the same dict, but what it reads can run code. All
    backends have the same keys and shapes, so that what a sharded head saved loads into a dense
    one; a head that samples has the key ``draws`` besides.

    Parameters
    ----------
    head : of any backend
    optimiser : the SGD that trains the head, alone or among other things; its momentum (not its
        learning rate) comes along as ``momentum.<parameter>``. A momentum buffer that SGD has not
        made yet is made here, of zeros, with which the next step is the same.

    Returns
    -------
    dict of Tensors that share memory with head and optimiser. Class centres and their momentum have
    shape (c, K, d), bias (c,); under a process group those of a sharded head are DTensors with
    ``Shard(0)``, each rank holding its own part; the rest is the same on every rank.

    Raises
    ------
    ValueError : SGD with dampening, which treats a first step differently
    """

    def whole(name: str, value: Tensor) -> Tensor:
        return head.whole(value) if name in ("centres", "bias") else value

    state = {name: whole(name, value) for name, value in head.state_dict().items()}
    for name, momentum in momenta(head, optimiser) if optimiser is not None else ():
        state[f"momentum.{name}"] = whole(name, momentum)
    return state


def momenta(module: nn.Module, optimiser: SGD) -> Iterator[tuple[str, Tensor]]:
    """The momentum of each parameter of a module, by its name; zeros, with which a step is the
    same, before the first.

    Raises
    ------
    ValueError : SGD with dampening, which treats a first step differently
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    for group in optimiser.param_groups:
        mine = [
            parameter for parameter in group["params"] if parameter in names and group["momentum"]
        ]
        if mine and group["dampening"]:
            raise ValueError(
                f"momentum can be saved without dampening only, got dampening {group['dampening']}"
            )
        for parameter in mine:
            kept = optimiser.state[parameter]
            if kept.get("momentum_buffer") is None:
                kept["momentum_buffer"] = torch.zeros_like(parameter)
            yield names[parameter], kept["momentum_buffer"]
