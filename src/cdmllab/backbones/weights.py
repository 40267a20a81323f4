"""Weights from files: checkpoints of common training codes, and our own releases.

A release is a safetensors file that describes itself. Embeddings are not normalised here, because
MagFace and AdaFace interpret their length as image quality.
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
    """The metadata of a release."""

    name: str  # of the backbone
    options: dict[str, Any]  # of `cdmllab.backbones.create`
    preprocessing: Preprocessing
    config: dict[str, Any]  # of the training run; empty if unknown
    git_commit: str  # of the package that trained or converted it; empty if unknown


def load(name: str, path: Path | str, **options: object) -> Backbone:
    """Build a backbone with the weights of a file, in evaluation mode and float32.

    Parameters
    ----------
    name, options : as for `cdmllab.backbones.create`; MagFace's eps is set unless `norm_eps` is
        given
    path : a checkpoint of arcface_torch, MagFace, AdaFace or CVLface (``.pth``, ``.pt``,
        ``.ckpt``), also in half precision or inside a training checkpoint; or a ``.safetensors``
        file. `cdmllab.backbones.checkpoints.recognise` reports the input that it expects

    Raises
    ------
    CdmlLabError : the file cannot be read, contains more than tensors, or does not fit the network
        (naming the keys), or its values are unusable, see `cdmllab.backbones.soundness`
    ValueError : unknown name or option
    """
    state, origin = checkpoints.recognise(path)
    options = {**implied(name, origin), **options}  # what is given wins
    # Compare names and shapes without memory first: an untrusted file may claim huge tensors.
    with torch.device("meta"):
        net = backbones.create(name, **options)
    problem = checkpoints.mismatch(net, state)
    if problem:
        fitting = checkpoints.guess(state)
        hint = f" (it fits {fitting})" if fitting else ""
        raise CdmlLabError(f"{path} does not contain the weights of {name}{hint}: {problem}")
    net = backbones.create(name, **options)
    # An old checkpoint may lack BatchNorm's counters: those of the new network stay.
    net.load_state_dict(net.state_dict() | state)
    soundness.check(net.state_dict(), path)
    return net.eval()


def implied(name: str, origin: Origin) -> dict[str, Any]:
    """The options implied by a checkpoint's origin, restricted to those of the backbone."""
    known = backbones.options(name)
    return {key: value for key, value in origin.options.items() if key in known}


def is_release(path: Path | str) -> bool:
    """Whether a file is one of our releases; any other safetensors file is a checkpoint."""
    if Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return False
    with checkpoints.opened(path) as file:
        return (file.metadata() or {}).get("format") == FORMAT


@reader("a readable release")
def load_release(path: Path | str) -> tuple[Backbone, Release]:
    """Build the backbone of a release, in evaluation mode; also return its metadata.

    Raises
    ------
    CdmlLabError : the file is not a release, or cannot be read
    """
    metadata = release(path)
    try:
        net = load(metadata.name, path, **metadata.options)
        contents.check_input(net, metadata.preprocessing, path)
        return net, metadata
    except (TypeError, ValueError) as error:
        raise CdmlLabError(f"{path} was written for another version: {error}") from error


@reader("a readable release")
def release(path: Path | str) -> Release:
    """Read the metadata of a release, without its tensors."""
    if Path(path).suffix != ".safetensors":
        raise CdmlLabError(f"{path} is not a release, which is a .safetensors file")
    with checkpoints.opened(path) as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise CdmlLabError(
            f"{path} is a safetensors file, but not a release of cdmllab: its metadata does not "
            f"name the network"
        )
    try:
        return Release(
            metadata["name"],
            json.loads(metadata["options"]),
            steps.check(json.loads(metadata["preprocessing"])),
            json.loads(metadata["config"]),
            metadata["git_commit"],
        )
    except (KeyError, ValueError) as error:
        raise CdmlLabError(f"{path}: its metadata is incomplete or invalid: {error}") from error


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
    """Write a network as a self-describing ``.safetensors`` file for `load_release`.

    Parameters
    ----------
    net : the network, built as ``create(name, **options)``
    path : file name that ends in ``.safetensors``
    name, options : of `cdmllab.backbones.create`
    preprocessing : see `cdmllab.preprocessing`; None for insightface's
    config, git_commit : the origin of the weights
    half : store floating-point values in float16, half the size; they are loaded as float32

    Raises
    ------
    CdmlLabError : the network's values are unusable, see `cdmllab.backbones.soundness`
    ValueError : `path` has another suffix, `name` and `options` do not build this network, the
        preprocessing does not fit it, or a value is too large for float16
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"a release must be a .safetensors file, got {path}")
    prepared = steps.check(preprocessing or steps.standard(net.channels, net.size))
    if prepared["size"] != net.size or steps.channels_of(prepared) != net.channels:
        raise ValueError(
            f"the network takes {net.channels} x {net.size} x {net.size}, but its preprocessing "
            f"gives {prepared}"
        )
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    soundness.check(state, path)
    # The options must build this very network, or the file could not be loaded again.
    with torch.device("meta"):
        twin = backbones.create(name, **(options or {}))
    problem = checkpoints.mismatch(twin, state) or _difference(twin, net)
    if problem:
        raise ValueError(
            f"{name} with options {dict(options or {})} does not build this network: {problem}"
        )
    if half:
        state = {
            key: value.half() if value.is_floating_point() else value
            for key, value in state.items()
        }
        # float16 ends at 65,504; `half` makes anything larger infinite.
        large = [key for key, value in state.items() if not torch.isfinite(value).all()]
        if large:
            raise ValueError(
                f"{large[0]} has values too large for float16: write the release without half"
            )
    metadata = {
        "format": FORMAT,
        "name": name,
        "options": json.dumps(dict(options or {})),
        "preprocessing": json.dumps(prepared),
        "config": json.dumps(dict(config or {})),
        "git_commit": git_commit or "",
    }
    with replacing(path) as temporary:
        temporary.write_bytes(_in_order(save(state, metadata=metadata)))


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file by key, so that equal releases have equal bytes.

    The library writes it in an order that differs between processes. The layout is an 8-byte
    length, the header in JSON, and the data (https://github.com/huggingface/safetensors).
    """
    (length,) = struct.unpack("<Q", content[:8])  # little-endian, unsigned
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)  # aligns the tensors to eight bytes
    return struct.pack("<Q", len(written)) + written + content[8 + length :]


def _difference(expected: Backbone, net: Backbone) -> str | None:
    """The first layer that differs although its parameters fit, by a stride or eps; or None."""
    others = dict(net.named_modules())
    for name, layer in expected.named_modules():
        # A layer's text has its stride, padding and eps, which a state dict does not contain.
        if not list(layer.children()) and str(layer) != str(others.get(name)):
            return f"{name} is {others.get(name)} instead of {layer}"
    return None
