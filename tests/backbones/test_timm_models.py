import pytest
import torch

from cdmllab import backbones

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module", autouse=True)
def registered():
    from cdmllab.backbones import timm_models

    return timm_models


def test_timm_lists_and_builds_every_backbone():
    assert {f"cdmllab_{name}" for name in backbones.names()} <= set(timm.list_models("cdmllab_*"))
    net = timm.create_model(
        "cdmllab_r18_lite", num_classes=16, in_chans=1, img_size=32, width=8
    ).eval()
    own = backbones.create("r18_lite", embedding_dim=16, channels=1, size=32, width=8).eval()
    own.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(net(x), own(x))


def test_timm_knows_the_preprocessing():
    config = timm.data.resolve_model_data_config(timm.create_model("cdmllab_lightweight"))
    assert config["input_size"] == (3, 112, 112)
    assert config["mean"] == config["std"] == (0.5, 0.5, 0.5)
    assert config["crop_pct"] == 1.0


def test_there_is_nothing_to_download():
    with pytest.raises(ValueError, match="cdmllab_r18 has no weights to download"):
        timm.create_model("cdmllab_r18", pretrained=True)
