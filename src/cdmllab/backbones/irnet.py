"""IR-nets: the residual networks of AdaFace and CVLface, with their parameter names.

They differ from IResNets in two details. If a block halves the map at equal width, its shortcut
takes every second pixel instead of a 1x1 convolution; and the last normalisation has neither gain
nor shift.

AdaFace (https://github.com/mk-minchul/AdaFace/blob/master/net.py) returns a pair: the embedding
divided by its length, and that length. This network returns the embedding itself, as CVLface's does
(https://github.com/mk-minchul/CVLface). Its length, AdaFace's measure of image quality, is
``embedding.norm(dim=1)``.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from cdmllab.backbones.base import Backbone
from cdmllab.backbones.layers import shortcut

SIZES = (16, 448)


class IRBlock(nn.Module):
    """bn - conv 3x3 - bn - prelu - conv 3x3 (stride) - bn, plus the input or a shortcut."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if width_in == width_out:
            # With a 1x1 window this only selects pixels: every second one, or all at stride 1.
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = shortcut(width_in, width_out, stride)
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.PReLU(width_out),
            nn.Conv2d(width_out, width_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, ceil(h / stride), ceil(w / stride))."""
        total: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return total


class IRNet(Backbone):
    """A stem at full size, four stages that each halve the map, and a linear layer.

    Parameters
    ----------
    depths : number of blocks in each of the four stages
    embedding_dim : d
    size : height and width of the input in pixels, 16 to 448
    channels : 1 for grey images, 3 for colour
    width : channels of the stem and of the first stage; each further stage doubles them
    dropout : share of features dropped before the linear layer, in training

    Raises
    ------
    ValueError : an option is out of range
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        embedding_dim: int = 512,
        size: int = 112,
        channels: int = 3,
        width: int = 64,
        dropout: float = 0.4,
    ) -> None:
        super().__init__(embedding_dim, size, channels, SIZES)
        if len(depths) != 4 or min(depths) < 1:
            raise ValueError(
                f"depths must be the numbers of blocks in four stages, each at least 1, got "
                f"{tuple(depths)}"
            )
        if width < 1:
            raise ValueError(f"width must be a positive number of channels, got {width}")
        last, side = 8 * width, -(-size // 16)  # channels and side of the last map
        self.input_layer = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(last * side * side, embedding_dim),
            nn.BatchNorm1d(embedding_dim, affine=False),
        )
        blocks, now = [], width
        for stage, depth in enumerate(depths):
            wide = width << stage  # doubled at each stage
            blocks += [IRBlock(now, wide, 2), *(IRBlock(wide, wide, 1) for _ in range(depth - 1))]
            now = wide
        self.body = nn.Sequential(*blocks)
        for module in self.modules():
            # He initialisation; a network on the meta device has no values to set.
            if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def trunk(self, images: Tensor) -> Tensor:
        x = self.input_layer(images)
        for block in self.body:
            x = self._block(block, x)
        # In checkpoints this BatchNorm belongs to the output, but it works on maps, like the trunk.
        maps: Tensor = self.output_layer[0](x)
        return maps

    def output(self, maps: Tensor) -> Tensor:
        x = maps
        for layer in list(self.output_layer)[1:]:
            x = layer(x)
        return x
