"""A head's state in a form that can be saved by one number of ranks and loaded by another."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import SGD

from cdmllab.heads.head import Head


def sharded_state_dict(head: Head, optimiser: SGD | None = None) -> dict[str, Tensor]:
    """Views of the state of a head and its momentum, to save from and to load into.

    ``checkpoint.write(folder, {"head": sharded_state_dict(head, optimiser)})`` saves it, each rank
    its own part; ``checkpoint.read`` of the same expression on any number of ranks fills head and
    optimiser in place. Here `checkpoint` is `cdmllab.training.checkpoint`;
    ``torch.distributed.checkpoint`` accepts the same dict, but reading an untrusted file with it
    can run code. All backends have the same keys and shapes, so the state of a sharded head loads
    into a dense one; a head that samples identities has the additional key ``draws``.

    Parameters
    ----------
    head : of any backend
    optimiser : the SGD that trains the head, and possibly other modules; its momentum (not its
        learning rate) is included as ``momentum.<parameter>``. A momentum buffer that SGD has not
        created yet is created here with zeros, which does not change the next step.

    Returns
    -------
    dict of Tensors that share memory with head and optimiser. Class centres and their momentum have
    shape (c, K, d), the bias (c,); under a process group those of a sharded head are DTensors with
    ``Shard(0)``, of which each rank has its own part; the rest is the same on every rank.

    Raises
    ------
    ValueError : SGD has dampening, which treats the first step differently
    """

    def global_view(name: str, value: Tensor) -> Tensor:
        # Only these two are split over ranks; a momentum has the shape of its parameter.
        return head.global_view(value) if name in ("centres", "bias") else value

    state = {name: global_view(name, value) for name, value in head.state_dict().items()}
    for name, momentum in momenta(head, optimiser) if optimiser is not None else ():
        state[f"momentum.{name}"] = global_view(name, momentum)
    return state


def momenta(module: nn.Module, optimiser: SGD) -> Iterator[tuple[str, Tensor]]:
    """The momentum buffer of each parameter of a module, with the parameter's name.

    Before the first step the buffers are created with zeros, which does not change that step.

    Raises
    ------
    ValueError : SGD has dampening, which treats the first step differently
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    for group in optimiser.param_groups:
        # The optimiser may train other modules too.
        own_parameters = [
            parameter for parameter in group["params"] if parameter in names and group["momentum"]
        ]
        if own_parameters and group["dampening"]:
            raise ValueError(
                "the momentum of SGD can be saved only if dampening is 0, got dampening "
                f"{group['dampening']}"
            )
        for parameter in own_parameters:
            kept = optimiser.state[parameter]
            if kept.get("momentum_buffer") is None:
                kept["momentum_buffer"] = torch.zeros_like(parameter)
            yield names[parameter], kept["momentum_buffer"]
