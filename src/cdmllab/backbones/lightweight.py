"""A depthwise-separable network in the spirit of MobileFaceNet, to the published parameter count.

S. Chen et al., "MobileFaceNets", CCBR 2018, for the parts; the arrangement is ours. The published network of
5,086,432 parameters and 0.098 GFLOPs is known by these two numbers only. They fix a good deal: 19 products a parameter
mean that most parameters must work on a map of 4x4, so this network halves the map five times, IResNet four.
"""

from torch import Tensor, nn

from cdmllab.backbones.base import Backbone
from cdmllab.backbones.layers import global_depthwise, unit_gain_norm

SIZES = (16, 448)
STAGES = ((16, 2), (32, 4), (96, 3), (256, 9))  # width, blocks: 5,086,432 parameters that train
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 up to `EXPANSION` times the width, 3x3 depthwise, 1x1 down without activation; a shortcut if shapes agree."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        inner = EXPANSION * width_in
        self.body = nn.Sequential(
            *_convolution(width_in, inner, 1),
            *_convolution(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, width_out, 1, bias=False),
            nn.BatchNorm2d(width_out),
        )
        self.shortcut = stride == 1 and width_in == width_out

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, ceil(h / stride), ceil(w / stride))."""
        out: Tensor = self.body(x)
        return x + out if self.shortcut else out


class Lightweight(Backbone):
    """A halving stem, four halving stages of bottlenecks, a global depthwise convolution, a linear layer.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels, 16 to 448
    channels : 1 for grey pictures, 3 for colour
    """

    def __init__(self, *, embedding_dim: int = 512, size: int = 112, channels: int = 3) -> None:
        super().__init__(embedding_dim, size, channels, SIZES)
        now, side, last = STAGES[0][0], -(-size // 2), 512
        self.stem = nn.Sequential(*_convolution(channels, now, 3, 2), *_convolution(now, now, 3, groups=now))
        blocks: list[nn.Module] = []
        for width, depth in STAGES:
            blocks += [Bottleneck(now, width, 2), *(Bottleneck(width, width, 1) for _ in range(depth - 1))]
            now, side = width, -(-side // 2)
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(*_convolution(now, last, 1))
        self.flatten = global_depthwise(last, side)
        self.fc = nn.Linear(last, embedding_dim, bias=False)
        self.features = unit_gain_norm(embedding_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def trunk(self, pictures: Tensor) -> Tensor:
        x = self.stem(pictures)
        for block in self.blocks:
            x = self._block(block, x)
        maps: Tensor = self.last(x)
        return maps

    def output(self, maps: Tensor) -> Tensor:
        embeddings: Tensor = self.features(self.fc(self.flatten(maps)))
        return embeddings


def _convolution(width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, normalisation, activation."""
    return [
        nn.Conv2d(width_in, width_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width_out),
        nn.PReLU(width_out),
    ]
