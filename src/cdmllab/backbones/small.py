"""A small residual network for pictures of 8 to 64 pixels: the one the CPU chapters train."""

from torch import Tensor, nn


class Block(nn.Module):
    """bn - conv - bn - prelu - conv (stride 2) - bn, plus a shortcut: IResNet's block, always halving."""

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
        self.shortcut = nn.Sequential(
            nn.Conv2d(width_in, width_out, 1, stride=2, bias=False), nn.BatchNorm2d(width_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, ceil(h/2), ceil(w/2))."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


class SmallNet(nn.Module):
    """A stem, one halving block after another down to at most 4 x 4, then a linear layer to the embedding.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels, 8 to 64
    channels : 1 for grey pictures, 3 for colour
    width : channels of the stem; each block doubles them, up to 4 x `width`
    """

    def __init__(self, embedding_dim: int = 64, size: int = 32, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        if not 8 <= size <= 64:
            raise ValueError(f"the small net takes pictures of 8 to 64 pixels, got size={size}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        self.embedding_dim, self.size, self.channels = embedding_dim, size, channels
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        blocks = []
        now, side = width, size
        while side > 4:
            wider = min(2 * now, 4 * width)
            blocks.append(Block(now, wider))
            now, side = wider, -(-side // 2)
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(now)
        self.fc = nn.Linear(now * side * side, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim, affine=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings, not yet normalised.

        Parameters
        ----------
        pictures : Tensor of shape (b, channels, size, size)

        Returns
        -------
        Tensor of shape (b, embedding_dim).
        """
        c, s = self.channels, self.size
        if pictures.ndim != 4 or pictures.shape[1:] != (c, s, s):
            raise ValueError(f"pictures must have shape (b, {c}, {s}, {s}), got {tuple(pictures.shape)}")
        x = self.bn(self.blocks(self.stem(pictures)))
        embeddings: Tensor = self.features(self.fc(x.flatten(1)))
        return embeddings
