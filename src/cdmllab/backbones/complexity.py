"""What a network costs: parameters, products, activations, and how far it sees, layer by layer."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cdmllab.backbones.base import Backbone


class Layer(NamedTuple):
    """One layer without parts of its own, for one image."""

    name: str  # its path in the network, "layer1.0.conv1"
    kind: str  # its class, "Conv2d"
    parameters: int
    macs: int  # multiply-accumulates of convolutions and linear layers; 0 for others
    outputs: int  # numbers it gives
    side: int  # height of its output map, 1 after flattening
    # side in pixels of what one number of its output depends on, as if images had no edge
    receptive_field: int


class Cost(NamedTuple):
    """The sums over a network, for one image."""

    parameters: int
    trained_parameters: int  # without those that are kept fixed
    macs: int
    norm_outputs: int  # numbers that BatchNorms give
    prelu_outputs: int  # numbers that PReLUs give
    biases: int  # added by linear layers
    buffers: int  # running means and variances, and a count for each BatchNorm
    activations: int  # numbers that convolutions and linear layers give

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates."""
        return self.macs / 1e9

    @property
    def published_gflops(self) -> float:
        """As ptflops 0.7.5 counts, which the method's repository calls.

        Multiply-accumulates and biases, 2 operations for each number of a BatchNorm, and 2 for each
        of a PReLU, which ptflops counts as a layer and once more as a function. The table prints
        this for the eight IResNets. Source:
        https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/flops.py
        """
        return (self.macs + self.biases + 2 * self.norm_outputs + 2 * self.prelu_outputs) / 1e9

    def size_mib(self, counted: str = "all", bytes_each: int = 4) -> float:
        """In MiB, with `bytes_each` number.

        Parameters
        ----------
        counted : "all" parameters, the "trained" ones, or "buffers", which is all and the buffers
        """
        numbers = {
            "all": self.parameters,
            "trained": self.trained_parameters,
            "buffers": self.parameters + self.buffers,
        }
        return numbers[counted] * bytes_each / 2**20


def cost(net: Backbone) -> Cost:
    """Count a network; nothing is computed."""
    parts = layers(net)
    return Cost(
        parameters=sum(p.numel() for p in net.parameters()),
        trained_parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        macs=sum(layer.macs for layer in parts),
        norm_outputs=sum(layer.outputs for layer in parts if layer.kind.startswith("BatchNorm")),
        prelu_outputs=sum(layer.outputs for layer in parts if layer.kind == "PReLU"),
        biases=sum(
            m.bias.numel() for m in net.modules() if isinstance(m, nn.Linear) and m.bias is not None
        ),
        buffers=sum(b.numel() for b in net.buffers()),
        activations=sum(layer.outputs for layer in parts if layer.kind in ("Conv2d", "Linear")),
    )


def layers(net: Backbone) -> list[Layer]:
    """Every layer in the order it is run.

    The receptive field is that of the longest way to a layer: 1 + the sum of (kernel - 1) x step
    over the convolutions before it, where a step is the distance in pixels of two neighbours on the
    map.
    """
    twin = copy.deepcopy(net).to("meta", torch.float32).eval().speed_up()  # shapes only
    found: list[Layer] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            seen = found[-1].receptive_field if found else 1
            if isinstance(module, nn.Conv2d):
                seen += (module.kernel_size[0] - 1) * -(-net.size // inputs[0].shape[-1])
            found.append(
                Layer(
                    name,
                    type(module).__name__,
                    sum(p.numel() for p in module.parameters()),
                    _macs(module, out),
                    out[0].numel(),
                    out.shape[-1] if out.ndim == 4 else 1,
                    seen,
                )
            )

        return hook

    for name, module in twin.named_modules():
        if not list(module.children()):
            module.register_forward_hook(note(name))
    twin(torch.zeros(1, net.channels, net.size, net.size, device="meta"))
    return found


def stages(net: Backbone, prefixes: Sequence[str]) -> list[tuple[int, int, int]]:
    """(parameters, multiply-accumulates, receptive field at the end) of the layers whose name
    begins so.
    """
    parts = layers(net)
    out = []
    for prefix in prefixes:
        own = [layer for layer in parts if f"{layer.name}.".startswith(f"{prefix}.")]
        if not own:
            raise ValueError(f"the network has no layer whose name begins with {prefix!r}")
        out.append(
            (sum(p.parameters for p in own), sum(p.macs for p in own), own[-1].receptive_field)
        )
    return out


def _macs(module: nn.Module, out: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return (
            out[0].numel()
            * module.in_channels
            // module.groups
            * module.kernel_size[0]
            * module.kernel_size[1]
        )
    return module.weight.numel() if isinstance(module, nn.Linear) else 0
