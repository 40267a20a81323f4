"""Layers shared by several backbones."""

from collections import OrderedDict

from torch import nn


def conv3x3(
    width_in: int, width_out: int, stride: int = 1, *, separable: bool = False
) -> nn.Module:
    """A 3x3 convolution that keeps the size at stride 1.

    With `separable` it is one 3x3 filter per channel (``depthwise``), followed by a 1x1 convolution
    (``pointwise``).
    """
    if not separable:
        return nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
    depthwise = nn.Conv2d(
        width_in, width_in, 3, stride=stride, padding=1, groups=width_in, bias=False
    )
    pointwise = nn.Conv2d(width_in, width_out, 1, bias=False)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def shortcut(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    """A 1x1 convolution and a normalisation that match a block's input to its output."""
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
    )


def global_depthwise(width: int, side: int) -> nn.Sequential:
    """A learnt weighted sum over each channel's pixels: (b, width, side, side) to (b, width)."""
    # A filter as large as the map gives one value per channel.
    return nn.Sequential(
        nn.Conv2d(width, width, side, groups=width, bias=False), nn.BatchNorm2d(width), nn.Flatten()
    )


def unit_gain_norm(embedding_dim: int) -> nn.BatchNorm1d:
    """The last normalisation, with a learnt shift and a gain that is a parameter frozen at 1."""
    norm = nn.BatchNorm1d(embedding_dim)
    nn.init.ones_(norm.weight)
    norm.weight.requires_grad_(False)
    return norm
