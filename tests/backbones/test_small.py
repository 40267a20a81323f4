import pytest
import torch

from cdmllab import backbones


@pytest.mark.parametrize(
    ("size", "channels"), [(8, 1), (28, 1), (32, 3), (48, 1), (64, 3), (112, 3)]
)
def test_small_returns_one_embedding_per_image(size, channels):
    net = backbones.create("small", embedding_dim=5, size=size, channels=channels, width=8)
    assert net(torch.randn(3, channels, size, size)).shape == (3, 5)


def test_small_in_evaluation_does_not_depend_on_the_batch():
    net = backbones.create("small", embedding_dim=4, size=8, channels=1, width=8).eval()
    x = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]))


def test_small_rejects_another_size():
    net = backbones.create("small", size=8, channels=1)
    with pytest.raises(ValueError, match=r"\(b, 1, 8, 8\), got \(2, 1, 9, 9\)"):
        net(torch.zeros(2, 1, 9, 9))


@pytest.mark.parametrize(
    ("options", "message"), [({"size": 4}, "8 to 224"), ({"channels": 2}, "1 .grey. or 3")]
)
def test_small_rejects_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        backbones.create("small", **options)
