"""The cost of a network, layer by layer: parameters, MACs, activations and receptive fields."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cdmllab.backbones.base import Backbone


class Layer(NamedTuple):
    """The cost of one leaf layer, for one image."""

    name: str  # path in the network, such as "layer1.0.conv1"
    kind: str  # class, such as "Conv2d"
    parameters: int
    macs: int  # multiply-accumulates of convolutions and linear layers; 0 for others
    outputs: int  # number of output values
    side: int  # height of the output map, 1 after flattening
    # side, in pixels, of the square of the input that one output depends on, without borders
    receptive_field: int


class Cost(NamedTuple):
    """The cost of a network for one image."""

    parameters: int
    trained_parameters: int  # without frozen ones
    macs: int  # multiply-accumulates
    norm_outputs: int  # output values of BatchNorms
    prelu_outputs: int  # output values of PReLUs
    biases: int  # biases of linear layers
    buffers: int  # running means and variances, and a counter for each BatchNorm
    activations: int  # output values of convolutions and linear layers

    @property
    def gmacs(self) -> float:
        """Billions of multiply-accumulates (10^9 MACs)."""
        return self.macs / 1e9

    @property
    def published_gflops(self) -> float:
        """The GFLOPs of the method's published table, as counted by ptflops 0.7.5.

        ptflops counts the multiply-accumulates and biases, 2 operations for each output of a
        BatchNorm, and 2 for each output of a PReLU, which it counts both as a layer and as a
        function. The published table has these numbers for the eight IResNets. Source:
        https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/flops.py
        """
        return (self.macs + self.biases + 2 * self.norm_outputs + 2 * self.prelu_outputs) / 1e9

    def size_mib(self, counted: str = "all", bytes_each: int = 4) -> float:
        """Size in MiB.

        Parameters
        ----------
        counted : "all" parameters, only the "trained" ones, or "buffers" for all parameters and the
            buffers
        bytes_each : bytes per value
        """
        numbers = {
            "all": self.parameters,
            "trained": self.trained_parameters,
            "buffers": self.parameters + self.buffers,
        }
        return numbers[counted] * bytes_each / 2**20


def cost(net: Backbone) -> Cost:
    """Count the cost of a network, on the meta device: nothing is computed."""
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
    """List all leaf layers in the order of execution.

    The receptive field is that of the longest path to a layer: 1 + the sum of (kernel - 1) x jump
    over the convolutions on it, where the jump is the distance in input pixels between neighbours
    on a convolution's input map.
    """
    # Without options `speed_up` turns off compiling, checkpointing and lower precisions.
    twin = copy.deepcopy(net).to("meta", torch.float32).eval().speed_up()  # shapes only
    result: list[Layer] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            # Layers run one after the other, and a shortcut's 1x1 convolution adds nothing.
            field = result[-1].receptive_field if result else 1
            if isinstance(module, nn.Conv2d):
                # The jump follows from the sides of the image and of this layer's map, rounded up.
                field += (module.kernel_size[0] - 1) * -(-net.size // inputs[0].shape[-1])
            result.append(
                Layer(
                    name,
                    type(module).__name__,
                    sum(p.numel() for p in module.parameters()),
                    _macs(module, out),
                    out[0].numel(),
                    out.shape[-1] if out.ndim == 4 else 1,
                    field,
                )
            )

        return hook

    # Hooks are called in the order of execution, which `named_modules` need not have.
    for name, module in twin.named_modules():
        if not list(module.children()):  # a leaf
            module.register_forward_hook(note(name))
    twin(torch.zeros(1, net.channels, net.size, net.size, device="meta"))
    return result


def stages(net: Backbone, prefixes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Parameters, MACs and final receptive field of the layers under each name prefix.

    Raises
    ------
    ValueError : the network has no layer with one of the prefixes
    """
    parts = layers(net)
    out = []
    for prefix in prefixes:
        # With the dot `layer1` does not match `layer10`.
        stage = [layer for layer in parts if f"{layer.name}.".startswith(f"{prefix}.")]
        if not stage:
            raise ValueError(f"the network has no layer whose name begins with {prefix!r}")
        out.append(
            (
                sum(layer.parameters for layer in stage),
                sum(layer.macs for layer in stage),
                stage[-1].receptive_field,
            )
        )
    return out


def _macs(module: nn.Module, out: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        # The values that an output is computed from: kernel area x input channels of its group.
        return (
            out[0].numel()
            * module.in_channels
            // module.groups
            * module.kernel_size[0]
            * module.kernel_size[1]
        )
    return module.weight.numel() if isinstance(module, nn.Linear) else 0
