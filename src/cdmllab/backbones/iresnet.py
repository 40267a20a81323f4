"""IResNet: the residual network of ArcFace's authors, and smaller variants of it.

J. Deng et al., "ArcFace", CVPR 2019, section 3.1, https://arxiv.org/abs/1801.07698. All parameters
have the names of the authors' PyTorch code (arcface_torch), so that public checkpoints load. The
Lite networks are the same at half the width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from cdmllab.backbones.base import Backbone
from cdmllab.backbones.layers import conv3x3, global_depthwise, shortcut, unit_gain_norm

BlockKind = Literal["basic", "separable", "bottleneck"]
Downsample = Literal["late", "early", "stem"]
Flatten = Literal["all", "depthwise"]

SIZES = (16, 448)


class IResNetBlock(nn.Module):
    """bn - conv 3x3 - bn - prelu - conv 3x3 - bn, plus the input, without a final activation.

    Parameters
    ----------
    width_in, width_out : channels
    stride : 2 halves the map; the input then passes through a 1x1 convolution, as it does if the
        width changes
    kind : ``"separable"`` replaces each 3x3 convolution by a depthwise and a 1x1 convolution;
        ``"bottleneck"`` has one 3x3 convolution at half the width between two 1x1 convolutions
    early : use the stride in the first convolution instead of the second
    """

    downsample: nn.Sequential | None

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int = 1,
        kind: BlockKind = "basic",
        early: bool = False,
    ) -> None:
        super().__init__()
        inner = width_out // 2 if kind == "bottleneck" else width_out
        first, second = (stride, 1) if early else (1, stride)  # strides of the two convolutions
        self.bn1 = nn.BatchNorm2d(width_in)
        if kind == "bottleneck":
            self.conv1: nn.Module = nn.Conv2d(width_in, inner, 1, stride=first, bias=False)
        else:
            self.conv1 = conv3x3(width_in, inner, first, separable=kind == "separable")
        self.bn2 = nn.BatchNorm2d(inner)
        self.prelu = nn.PReLU(inner)
        if kind == "bottleneck":
            self.conv2: nn.Module = nn.Sequential(
                conv3x3(inner, inner, second), nn.BatchNorm2d(inner), nn.PReLU(inner),
                nn.Conv2d(inner, width_out, 1, bias=False),
            )  # fmt: skip
        else:
            self.conv2 = conv3x3(inner, width_out, second, separable=kind == "separable")
        self.bn3 = nn.BatchNorm2d(width_out)
        self.downsample = None
        if stride != 1 or width_in != width_out:
            self.downsample = shortcut(width_in, width_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, width_in, h, w) to (b, width_out, ceil(h / stride), ceil(w / stride))."""
        out: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return out + (x if self.downsample is None else self.downsample(x))


class IResNet(Backbone):
    """A stem at full size, four stages that halve the map and double the width, a linear layer.

    Parameters
    ----------
    depths : number of blocks in each of the four stages
    embedding_dim : d
    size : height and width of the input in pixels, 16 to 448
    channels : 1 for grey images, 3 for colour
    width : channels of the stem and of the first stage; 64 in the published networks, 32 in the
        Lite networks
    last_width : channels of the last stage; None for 8 times `width`, as published
    dropout : share of features dropped before the linear layer, in training
    block : kind of block, see `IResNetBlock`
    downsample : where the size is halved: ``"late"``, in the last 3x3 convolution of a stage's
        first block, as published; ``"early"``, in its first convolution; ``"stem"``, already in the
        stem for the first halving
    flatten : input of the linear layer: ``"all"``, the full last map, as published;
        ``"depthwise"``, one value per channel, a learnt weighted sum over its pixels
    norm_eps : added to the variance in every normalisation; 1e-5 in arcface_torch. MagFace's
        networks have 2e-5 and are otherwise the same function
        (https://github.com/IrvingMeng/MagFace/blob/main/models/iresnet.py)

    Raises
    ------
    ValueError : an option is out of range
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depths: Sequence[int],
        *,
        embedding_dim: int = 512,
        size: int = 112,
        channels: int = 3,
        width: int = 64,
        last_width: int | None = None,
        dropout: float = 0.0,
        block: BlockKind = "basic",
        downsample: Downsample = "late",
        flatten: Flatten = "all",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(embedding_dim, size, channels, SIZES)
        for name, value, kind in (
            ("block", block, BlockKind),
            ("downsample", downsample, Downsample),
            ("flatten", flatten, Flatten),
        ):
            if value not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}"
                )
        if len(depths) != 4 or min(depths) < 1:
            raise ValueError(
                f"depths must be the numbers of blocks in four stages, each at least 1, got "
                f"{tuple(depths)}"
            )
        widths = [width, 2 * width, 4 * width, 8 * width if last_width is None else last_width]
        for name, channels_of in (("width", width), ("last_width", widths[-1])):
            if channels_of < 2 or channels_of % 2:
                raise ValueError(f"{name} must be an even number of channels, got {channels_of}")
        if not norm_eps > 0.0:
            raise ValueError(f"norm_eps must be positive, got {norm_eps}")
        self.norm_eps = norm_eps
        from_stem = downsample == "stem"
        build = partial(IResNetBlock, kind=block, early=downsample == "early")
        # Stem, four stages and output, with the names of public checkpoints.
        self.conv1 = conv3x3(channels, width, 2 if from_stem else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        # Channels and side of the map between the stages.
        now, side = width, -(-size // 2) if from_stem else size
        for stage, (depth, wide) in enumerate(zip(depths, widths, strict=True)):
            stride = 1 if from_stem and stage == 0 else 2  # the stem has halved already
            # The first block of a stage changes size and width, the others keep both.
            blocks = [build(now, wide, stride), *(build(wide, wide) for _ in range(depth - 1))]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))  # the names in checkpoints
            now, side = wide, -(-side // stride)
        self.bn2 = nn.BatchNorm2d(now)
        self.dropout = nn.Dropout(dropout)
        self.flatten = nn.Flatten() if flatten == "all" else global_depthwise(now, side)
        self.fc = nn.Linear(now * side * side if flatten == "all" else now, embedding_dim)
        self.features = unit_gain_norm(embedding_dim)
        for module in self.modules():
            # arcface_torch's initialisation; a network on the meta device has no values to set.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.normal_(module.weight, 0.0, 0.1)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eps = norm_eps

    def trunk(self, images: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = self._block(block, x)
        maps: Tensor = self.bn2(x)
        return maps

    def output(self, maps: Tensor) -> Tensor:
        embeddings: Tensor = self.features(self.fc(self.flatten(self.dropout(maps))))
        return embeddings
