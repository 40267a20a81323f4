"""dlib's metric-learning ResNet, a public pretrained network with a published 99.38 % on LFW.

It has 29 convolutions and 128 dimensions. Sources: the definition in dlib's example,
https://github.com/davisking/dlib/blob/master/examples/dnn_face_recognition_ex.cpp; the page of
the weights, https://github.com/davisking/dlib-models; and the port that quantised them,
https://github.com/vladmandic/face-api/tree/master/src/faceRecognitionNet.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cdmllab.backbones import tfjs
from cdmllab.backbones.base import Backbone
from cdmllab.errors import DataError
from cdmllab.preprocessing import Preprocessing

SIZES = (103, 448)  # below 103 pixels the last convolution would not fit on its map
# Residual blocks in order, with face-api's names and their channels; "down" halves the map.
BLOCKS = {
    "32_1": 32, "32_2": 32, "32_3": 32,
    "64_down": 64, "64_1": 64, "64_2": 64, "64_3": 64,
    "128_down": 128, "128_1": 128, "128_2": 128,
    "256_down": 256, "256_1": 256, "256_2": 256, "256_down_out": 256,
}  # fmt: skip
_MEAN = (122.782, 117.001, 104.298)  # of the pixels of dlib's training set, RGB

# The square of dlib's own template is smaller than ArcFace's and lies further down. The crop below
# covers LFW-a's pixels 64 to 186 across and 76 to 198 down; aligned to the eyes of dlib's template
# it would be 65.5 to 185.9 and 73.9 to 194.3.
PREPROCESSING: Preprocessing = {
    "channels": "RGB",
    "mean": [value / 255.0 for value in _MEAN],
    "std": [1.0, 1.0, 1.0],
    "size": 150,
    "crop": [5.0, 21.75, 107.0, 123.75],
}


class Affine(nn.Module):
    """A gain and a shift for each channel, to which dlib reduces a trained BatchNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width, h, w) to the same shape."""
        scaled: Tensor = x * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return scaled

    def extra_repr(self) -> str:
        return str(len(self.weight))


class DlibBlock(nn.Module):
    """Two 3x3 convolutions, each followed by an `Affine`, plus the input, then a ReLU.

    In a block that halves the map, the first convolution has stride 2 and no padding, and the input
    is averaged over 2 x 2 pixels. Zeros pad the channels that the input lacks, and the last row and
    column of the convolutions' output, which are missing if the side is even.

    Parameters
    ----------
    width_in, width_out : channels
    halve : whether the map is halved
    """

    def __init__(self, width_in: int, width_out: int, halve: bool) -> None:
        super().__init__()
        self.halve, self.added = halve, width_out - width_in  # channels of zeros to add
        self.conv1 = _convolution(width_in, width_out, 3, *((2, 0) if halve else (1, 1)))
        self.conv2 = _convolution(width_out, width_out, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, h, w), or h and w halved if `halve`."""
        y: Tensor = self.conv2(F.relu(self.conv1(x)))
        if self.halve:
            # F.pad counts from the last axis, so the last pair appends channels of zeros.
            x = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.added))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(y + x)


class DlibResNet(Backbone):
    """A 7x7 stem with max pooling, 14 residual blocks, average pooling and a linear layer.

    It has no BatchNorm, so do not expect it to train well from random weights; `from_face_api`
    reads the public weights.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels, 103 to 448; the public weights are for 150
    channels : 1 for grey images, 3 for colour
    """

    def __init__(self, embedding_dim: int = 128, size: int = 150, channels: int = 3) -> None:
        super().__init__(embedding_dim, size, channels, SIZES)
        self.stem = _convolution(channels, 32, 7, 2, 0)
        widths = [32, *BLOCKS.values()]  # block k has widths[k] channels as input
        self.blocks = nn.ModuleDict(
            {
                name: DlibBlock(widths[k], width, "down" in name)
                for k, (name, width) in enumerate(BLOCKS.items())
            }
        )
        self.fc = nn.Linear(widths[-1], embedding_dim, bias=False)

    def trunk(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(images)), 3, stride=2)
        for block in self.blocks.values():
            x = self._block(block, x)
        return x

    def output(self, maps: Tensor) -> Tensor:
        embeddings: Tensor = self.fc(maps.mean(dim=(2, 3)))
        return embeddings

    def _parameter_dtype(self) -> torch.dtype:
        # This network has no running mean, from which the base class takes the dtype.
        return self.fc.weight.dtype


def from_face_api(manifest: Path | str) -> DlibResNet:
    """Load the weights of face-api's ``face_recognition_model``; returns it in evaluation mode.

    Parameters
    ----------
    manifest : ``face_recognition_model-weights_manifest.json``, with the ``.bin`` next to it

    Raises
    ------
    DataError : the files cannot be read, or a tensor is missing or unknown, has another shape or is
        not finite
    """
    net = DlibResNet()
    tensors, names = tfjs.read(manifest), _face_api_names()
    if missing := [name for name in names if name not in tensors]:
        raise DataError(
            f"{manifest} lacks {len(missing)} of {len(names)} tensors, the first is {missing[0]}"
        )
    if unknown := [name for name in tensors if name not in names]:
        raise DataError(f"{manifest} has {unknown[0]}, which is not a tensor of dlib's network")
    expected = net.state_dict()
    net.load_state_dict(
        {key: _permuted(tensors, name, expected[key], manifest) for name, key in names.items()}
    )
    return net.eval()


def _convolution(
    width_in: int, width_out: int, side: int, stride: int, padding: int
) -> nn.Sequential:
    conv = nn.Conv2d(width_in, width_out, side, stride=stride, padding=padding)
    return nn.Sequential(OrderedDict(conv=conv, affine=Affine(width_out)))


def _face_api_names() -> dict[str, str]:
    """Our name for each tensor of face-api's file."""
    parts = {"conv/filters": "conv.weight", "conv/bias": "conv.bias",
             "scale/weights": "affine.weight", "scale/biases": "affine.bias"}  # fmt: skip
    # First the convolutions, face-api's path and ours, then the parts of each.
    modules = {"conv32_down": "stem"}
    modules |= {
        f"conv{block}/{conv}": f"blocks.{block}.{conv}"
        for block in BLOCKS
        for conv in ("conv1", "conv2")
    }
    names = {f"{a}/{x}": f"{b}.{y}" for a, b in modules.items() for x, y in parts.items()}
    return names | {"fc": "fc.weight"}


def _permuted(
    tensors: Mapping[str, NDArray[np.generic]], name: str, ours: Tensor, path: Path | str
) -> Tensor:
    """A tensor of the file with its axes in PyTorch's order: TensorFlow has the outputs last."""
    # From (h, w, in, out) to (out, in, h, w), and from (in, out) to (out, in).
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[ours.ndim]
    values = tensors[name]
    # Our shape, permuted back: the shape that the file has to have.
    expected = tuple(ours.shape[order.index(axis)] for axis in range(ours.ndim))
    if values.shape != expected or values.dtype != np.float32:
        raise DataError(
            f"{path}: {name} is {values.dtype} of shape {values.shape}, expected float32 of shape "
            f"{expected}"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {name} has a value that is not finite")
    return torch.from_numpy(np.ascontiguousarray(values.transpose(order)))
