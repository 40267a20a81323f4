"""Our backbones in timm: import this module, then ``timm.create_model("cdmllab_r50_lite")``.

timm's own options are translated: `num_classes` is the embedding dimension, `in_chans` the number
of channels, and `img_size` the size. Further options are those of the network's class. timm is not
a dependency of this package.
"""

from typing import Any

from cdmllab import backbones, preprocessing
from cdmllab.backbones.base import Backbone
from cdmllab.errors import optional

with optional("timm", "a model of timm"):
    from timm.models import register_model

PREFIX = "cdmllab_"
default_cfgs = {
    f"{PREFIX}{name}": {
        "url": "",
        "input_size": (3, 112, 112),
        "mean": tuple(preprocessing.INSIGHTFACE["mean"]),
        "std": tuple(preprocessing.INSIGHTFACE["std"]),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "num_classes": 512,
        "classifier": "fc",
        "fixed_input_size": True,
    }
    for name in backbones.names()
}
__all__ = ["PREFIX"]  # `register_model` adds the name of each backbone


def _register(name: str) -> None:
    def build(
        pretrained: bool = False,
        num_classes: int = 512,
        in_chans: int = 3,
        img_size: int = 112,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        cache_dir: Any = None,
        **options: Any,
    ) -> Backbone:
        if pretrained:
            raise ValueError(
                f"{PREFIX}{name} has no weights to download; use cdmllab.backbones.weights.load"
            )
        net = backbones.create(
            name, embedding_dim=num_classes, channels=in_chans, size=img_size, **options
        )
        standard = preprocessing.standard(in_chans, img_size)
        # The config of this very network, which may have another size or other channels.
        own = {
            **default_cfgs[f"{PREFIX}{name}"],
            "input_size": (in_chans, img_size, img_size),
            "mean": tuple(standard["mean"]),
            "std": tuple(standard["std"]),
            "num_classes": num_classes,
        }
        # Attributes that timm and its users read from a model.
        vars(net).update(
            pretrained_cfg=own, default_cfg=own, num_classes=num_classes, num_features=num_classes
        )
        return net

    # A function of this module with that name, as in timm's own modules.
    build.__name__ = build.__qualname__ = f"{PREFIX}{name}"
    globals()[build.__name__] = register_model(build)


for _name in backbones.names():
    _register(_name)
