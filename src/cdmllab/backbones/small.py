"""A small residual network for small images, which the chapters train on a CPU."""

from torch import Tensor, nn

from cdmllab.backbones.base import Backbone
from cdmllab.backbones.layers import shortcut

SIZES = (8, 224)


class SmallBlock(nn.Module):
    """IResNet's block with stride 2: bn - conv - bn - prelu - conv - bn, plus a shortcut."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.PReLU(width_out),
            nn.Conv2d(width_out, width_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
        )
        self.shortcut = shortcut(width_in, width_out, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, ceil(h/2), ceil(w/2))."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


class SmallNet(Backbone):
    """A stem, blocks that halve the map until it is at most 4 x 4, and a linear layer.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels, 8 to 224
    channels : 1 for grey images, 3 for colour
    width : channels of the stem; each block doubles them, up to 4 x `width`
    """

    def __init__(
        self, embedding_dim: int = 64, size: int = 32, channels: int = 3, width: int = 32
    ) -> None:
        super().__init__(embedding_dim, size, channels, SIZES)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
        )
        blocks = []
        now, side = width, size  # channels and side of the map
        while side > 4:
            wider = min(2 * now, 4 * width)
            blocks.append(SmallBlock(now, wider))
            now, side = wider, -(-side // 2)
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(now)
        self.fc = nn.Linear(now * side * side, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim, affine=False)

    def trunk(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = self._block(block, x)
        maps: Tensor = self.bn(x)
        return maps

    def output(self, maps: Tensor) -> Tensor:
        embeddings: Tensor = self.features(self.fc(maps.flatten(1)))
        return embeddings
