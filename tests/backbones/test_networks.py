import itertools

import pytest
import torch

from cdmllab import backbones

TINY = {"width": 4, "embedding_dim": 6, "size": 32}
EVERY = {
    "r18_lite": TINY,
    "r50": {"embedding_dim": 6, "size": 16, "channels": 1, "width": 2},
    "lightweight": {"embedding_dim": 6, "size": 32},
    "small": {"embedding_dim": 6, "width": 4},
    "ir_18": TINY,
}
VARIANTS = list(
    itertools.product(
        ("basic", "separable", "bottleneck"), ("late", "early", "stem"), ("all", "depthwise")
    )
)


def images(net, count=3):
    return torch.randn(
        count, net.channels, net.size, net.size, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("name", backbones.names())
def test_default_output_is_one_finite_embedding_per_image(name):
    torch.manual_seed(0)
    net = backbones.create(name).eval()
    size, dim = {"small": (32, 64), "dlib_resnet": (150, 128)}.get(name, (112, 512))
    assert (net.size, net.channels, net.embedding_dim) == (size, 3, dim)
    net.train()
    with torch.no_grad():
        out = net(images(net, 2))
    assert out.shape == (2, dim)
    assert torch.isfinite(out).all()
    assert out.norm(dim=1).min() > 0


def test_embeddings_in_training_have_unit_variance():
    """The last normalisation's gain stays 1: the mean squared length is d whatever came before."""
    net = backbones.create("r18_lite", **TINY | {"embedding_dim": 32})
    out = net(5.0 * images(net, 64))
    assert torch.isclose(out.square().sum(1).mean(), torch.tensor(32.0), rtol=1e-2)
    assert not net.features.weight.requires_grad


@pytest.mark.parametrize("name", EVERY)
def test_evaluation_does_not_depend_on_the_batch_or_on_dropout(name):
    torch.manual_seed(0)
    extra = {"dropout": 0.4} if name != "small" else {}
    net = backbones.create(name, **EVERY[name], **extra)
    x = images(net)
    net.train()(x)
    net.eval()
    torch.testing.assert_close(net(x), net(x), rtol=0, atol=0)
    torch.testing.assert_close(net(x)[2:], net(x[2:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_training_is_the_same_from_the_same_seed(name):
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        net = backbones.create(name, **EVERY[name])
        outs.append(net(images(net)))
    assert torch.equal(*outs)


@pytest.mark.parametrize(("block", "downsample", "flatten"), VARIANTS)
def test_every_variant_trains(block, downsample, flatten):
    """Every parameter moves the embeddings.

    Normalised by its own batch a network is blind to many a bias, whose gradient is then nothing
    but rounding. So the statistics of one batch are kept and the gradient is that of the network in
    evaluation.
    """
    net = backbones.create(
        "r18_lite", **TINY, block=block, downsample=downsample, flatten=flatten
    ).double()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    x = images(net).double()
    net(x)
    out = net.eval()(x)
    (
        out * torch.linspace(-1.0, 2.0, out.numel(), dtype=out.dtype).reshape(out.shape)
    ).sum().backward()
    largest = {
        name: p.grad.abs().max().item() for name, p in net.named_parameters() if p.requires_grad
    }
    assert min(largest.values()) > 1e-3, largest
    net.float()
    assert net.trunk(images(net)).shape == (3, 32, 2, 2)


@pytest.mark.parametrize("size", [16, 20, 112, 127])
@pytest.mark.parametrize("name", ["r18_lite", "lightweight", "ir_18"])
def test_other_sizes_are_halved_rounding_up(name, size):
    net = backbones.create(name, size=size, embedding_dim=4).eval()
    assert net.trunk(images(net, 1)).shape[-1] == -(-size // 16)
    assert net(images(net, 1)).shape == (1, 4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3, 112, 112), r"\(b, 3, 32, 32\), got \(2, 3, 112, "
                        r"112\)"), ((2, 1, 32, 32), r"got \(2, 1, 32, "
                                                                                       r"32\)"),
     ((3, 32, 32), r"got \(3, 32, 32\)")],
)  # fmt: skip
def test_other_images_are_rejected(shape, message):
    with pytest.raises(ValueError, match=message):
        backbones.create("r18_lite", **TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("r17", {}, r"unknown backbone 'r17' \(did you mean 'r1.*'\?\); there are: r18"),
        ("r50-lite", {}, r"unknown backbone 'r50-lite' \(did you mean 'r50_lite'\?\); there are"),
        ("R100", {}, r"unknown backbone 'R100' \(did you mean 'r100'\?\); there are"),
        ("vit", {}, "unknown backbone 'vit'; there are: r18"),
        ("r18", {"depht": 3}, "'r18' has no option 'depht'; it has: embedding_dim"),
        (
            "r18",
            {"widht": 3},
            r"'r18' has no option 'widht' \(did you mean 'width'\?\); it has: embedding_dim",
        ),
        ("r18", {"depths": (1, 1, 1, 1)}, "'r18' has no option 'depths'"),
        ("r18", {"size": 8}, "16 to 448 pixels, got size=8"),
        ("r18", {"channels": 4}, "1 .grey. or 3 .colour., got 4"),
        ("r18", {"embedding_dim": 0}, "at least 1, got 0"),
        (
            "r18",
            {"block": "dense"},
            "'block': Input should be 'basic', 'separable' or 'bottleneck', got \"dense\"",
        ),
        ("r18", {"downsample": "never"}, "'downsample': Input should be 'late', 'early' or 'stem'"),
        ("r18", {"flatten": "mean"}, "'flatten': Input should be 'all' or 'depthwise'"),
        ("r18", {"width": 3}, "width must be an even number of channels, got 3"),
        ("r18", {"last_width": 0}, "last_width must be an even number of channels, got 0"),
        ("r18", {"norm_eps": 0.0}, "norm_eps must be positive, got 0.0"),
        ("lightweight", {"width": 64}, "'lightweight' has no option 'width'"),
        ("ir_50", {"width": 0}, "width must be a positive number of channels, got 0"),
        ("ir_50", {"size": 8}, "16 to 448 pixels, got size=8"),
    ],
)
def test_invalid_options_are_rejected(name, options, message):
    with pytest.raises(ValueError, match=message):
        backbones.create(name, **options)
