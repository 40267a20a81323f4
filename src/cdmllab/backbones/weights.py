"""Weights from files: checkpoints of the field's training codes, and our releases.

A release is a safetensors file that describes itself. Networks keep the length of their embeddings,
which MagFace and AdaFace read as image quality: nothing here normalises.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save

from cdmllab import backbones
from cdmllab import preprocessing as steps
from cdmllab._util.files import replacing
from cdmllab.backbones import checkpoints, contents, soundness
from cdmllab.backbones.base import Backbone
from cdmllab.backbones.layouts import Origin
from cdmllab.errors import CdmlLabError, reader
from cdmllab.preprocessing import Preprocessing

FORMAT = "cdmllab-1"


class Release(NamedTuple):
    """What a released file says of itself."""

    name: str
    options: dict[str, Any]  # of `cdmllab.backbones.create`
    preprocessing: Preprocessing
    config: dict[str, Any]  # of the training run; empty if not known
    git_commit: str  # of the package that trained or converted it; empty if not known


def load(name: str, path: Path | str, **options: object) -> Backbone:
    """A backbone with the weights of a file, in evaluation mode, in float32.

    Parameters
    ----------
    name, options : as for `cdmllab.backbones.create`; MagFace's eps is set unless `norm_eps` is
        given
    path : a checkpoint of arcface_torch, MagFace, AdaFace or CVLface (``.pth``, ``.pt``,
        ``.ckpt``), also in half precision or inside a training checkpoint; or a ``.safetensors``
        file. The input that it expects is reported by `cdmllab.backbones.checkpoints.recognise`

    Raises
    ------
    CdmlLabError : the file cannot be read, holds more than tensors, or is not of this network; says
        which keys. Or its numbers cannot work, see `cdmllab.backbones.soundness`
    ValueError : unknown name or option
    """
    state, origin = checkpoints.recognise(path)
    options = {**implied(name, origin), **options}
    with torch.device("meta"):  # a file that promises too much costs nothing yet
        net = backbones.create(name, **options)
    problem = checkpoints.mismatch(net, state)
    if problem:
        fitting = checkpoints.guess(state)
        hint = f" (it fits {fitting})" if fitting else ""
        raise CdmlLabError(f"{path} does not hold the weights of {name}{hint}: {problem}")
    net = backbones.create(name, **options)
    net.load_state_dict(net.state_dict() | state)
    soundness.check(net.state_dict(), path)
    return net.eval()


def implied(name: str, origin: Origin) -> dict[str, Any]:
    """The options that a checkpoint's origin implies for a backbone, if the backbone has them."""
    known = backbones.options(name)
    return {key: value for key, value in origin.options.items() if key in known}


def is_release(path: Path | str) -> bool:
    """Whether a file is one of our releases; other safetensors files are checkpoints."""
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return False
    with checkpoints.opened(path) as file:
        return (file.metadata() or {}).get("format") == FORMAT


@reader("a readable release")
def load_release(path: Path | str) -> tuple[Backbone, Release]:
    """The backbone of a released file, in evaluation mode, and what the file says of itself.

    Raises
    ------
    CdmlLabError : the file is no release, or cannot be read
    """
    said = release(path)
    try:
        net = load(said.name, path, **said.options)
        contents.check_input(net, said.preprocessing, path)
        return net, said
    except (TypeError, ValueError) as error:
        raise CdmlLabError(f"{path} was written for another version: {error}") from error


@reader("a readable release")
def release(path: Path | str) -> Release:
    """What a released file says of itself, without its tensors."""
    if Path(path).suffix != ".safetensors":
        raise CdmlLabError(f"{path} is no release: those are .safetensors files")
    with checkpoints.opened(path) as file:
        said = file.metadata() or {}
    if said.get("format") != FORMAT:
        raise CdmlLabError(
            f"{path} is a safetensors file, but not released by cdmllab: it does not say which "
            f"network"
        )
    try:
        return Release(
            said["name"],
            json.loads(said["options"]),
            steps.check(json.loads(said["preprocessing"])),
            json.loads(said["config"]),
            said["git_commit"],
        )
    except (KeyError, ValueError) as error:
        raise CdmlLabError(f"{path}: its metadata is incomplete or broken: {error}") from error


def save_release(
    net: Backbone,
    path: Path | str,
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    git_commit: str | None = None,
    half: bool = False,
) -> None:
    """Write a network as a ``.safetensors`` file that `load_release` builds again by itself.

    Parameters
    ----------
    net : the network, built as ``create(name, **options)``
    path : ends in ``.safetensors``
    preprocessing : see `cdmllab.preprocessing`; None for insightface's
    config, git_commit : where the weights come from
    half : keep floating numbers in float16, half the size; they are read as float32 again

    Raises
    ------
    CdmlLabError : the network's numbers cannot work, see `cdmllab.backbones.soundness`
    ValueError : another ending, `name` and `options` do not build this network, or a number too
        large for float16
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"a release is a .safetensors file, got {path}")
    plain = steps.check(preprocessing or steps.standard(net.channels, net.size))
    if plain["size"] != net.size or steps.channels_of(plain) != net.channels:
        raise ValueError(
            f"the network takes {net.channels} x {net.size} x {net.size}, its preprocessing gives "
            f"{plain}"
        )
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    soundness.check(state, path)
    with torch.device("meta"):
        twin = backbones.create(name, **(options or {}))
    problem = checkpoints.mismatch(twin, state) or _difference(twin, net)
    if problem:
        raise ValueError(f"{name} with options {dict(options or {})} is another network: {problem}")
    if half:
        state = {
            key: value.half() if value.is_floating_point() else value
            for key, value in state.items()
        }
        large = [key for key, value in state.items() if not torch.isfinite(value).all()]
        if large:
            raise ValueError(
                f"{large[0]} does not fit into float16: write the release without half"
            )
    said = {
        "format": FORMAT,
        "name": name,
        "options": json.dumps(dict(options or {})),
        "preprocessing": json.dumps(plain),
        "config": json.dumps(dict(config or {})),
        "git_commit": git_commit or "",
    }
    with replacing(path) as temporary:
        temporary.write_bytes(_in_order(save(state, metadata=said)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by key: the library writes it in another order in
    each process.
    """
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)  # the tensors begin at a multiple of eight bytes
    return struct.pack("<Q", len(written)) + written + content[8 + length :]


def _difference(wanted: Backbone, net: Backbone) -> str | None:
    """The first layer that differs though its parameters fit, by a stride or an eps; or None."""
    others = dict(net.named_modules())
    for name, one in wanted.named_modules():
        if not list(one.children()) and str(one) != str(others.get(name)):
            return f"{name} is {others.get(name)} instead of {one}"
    return None
