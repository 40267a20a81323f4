"""What a run needs to be validated on while it trains, asked before its first step."""

from pathlib import Path

from cdmllab.data import att_faces, lfw, omniglot, verification
from cdmllab.training.config import Config


def missing(name: str) -> str:
    """How to get a protocol's data, in a sentence; empty when it is there, or needs none."""
    if name in verification.TABLE:
        return verification.available(name).how
    kind = name.partition("/")[0]
    if kind == "lfw":
        return "" if lfw.available() else lfw.HOW
    if kind == "att_faces":
        return "" if att_faces.available() else att_faces.HOW
    if kind == "omniglot":
        return "" if omniglot.available("images_background_small2") else omniglot.HOW
    if Path(name).suffix and not Path(name).is_file():
        return f"{name} does not exist"
    return ""


def missing_for(config: Config) -> dict[str, str]:
    """By protocol, how to get those that a config validates on and that are not there."""
    return {name: how for name in config.watch.protocols if (how := missing(name))}
