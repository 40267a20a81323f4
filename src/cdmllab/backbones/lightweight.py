"""The published lightweight network: a separable r18_lite with a narrower last stage.

It follows the file in the method's repository, including the names of its parameters:
https://github.com/nhatky160103/DATN/blob/2bc8c12/models/Recognition/Arcface_torch/backbones/iresnet_lightweight.py
"""

from cdmllab.backbones.iresnet import IResNet

DEPTHS = (2, 2, 2, 2)


class Lightweight(IResNet):
    """A separable IResNet of 18 layers with stages of 32, 64, 128 and 192 channels.

    Every 3x3 convolution of a block is a depthwise and a 1x1 convolution. The stem, the shortcuts
    and the linear layer are those of r18_lite, except that the last stage has 192 channels instead
    of 256.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels, 16 to 448
    channels : 1 for grey images, 3 for colour
    dropout : share of features dropped before the linear layer, in training
    """

    def __init__(
        self, *, embedding_dim: int = 512, size: int = 112, channels: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__(
            DEPTHS,
            embedding_dim=embedding_dim,
            size=size,
            channels=channels,
            width=32,
            last_width=192,
            dropout=dropout,
            block="separable",
        )
