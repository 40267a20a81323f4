"""An ONNX file as a network to evaluate: insightface's recognition models, and our exports."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdmllab._util.files import read_bytes
from cdmllab.errors import CdmlLabError, DataError, plain, require
from cdmllab.preprocessing import INSIGHTFACE, Preprocessing, channels_of, check

OWN_INPUT = "cdmllab.input"  # under this key our exports keep the preprocessing of what they take
_FIRST_NODES = 8
_LARGEST = 64 << 30  # bytes of a file
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork(nn.Module):
    """The file in ONNX Runtime on the CPU: images [b, channels, size, size] to embeddings [b, d].

    Attributes
    ----------
    preprocessing : how uint8 images become its input: what our exports say, or insightface's rule
    size : height and width of its input in pixels
    sha256 : of the file and of weights kept next to it, [32]: the same network has the same
        `judging.digest`

    Raises
    ------
    CdmlLabError : ONNX Runtime is not installed, or the file cannot be read, or is no network from
        square images of one or three channels to one embedding each
    """

    sha256: Tensor

    def __init__(self, path: Path, threads: int = 1) -> None:
        super().__init__()
        if not path.is_file():
            raise CdmlLabError(f"there is no file {path}")
        self._session = _session(path, threads)
        given, out = _ends(path, self._session)
        self.batch, channels, self.size = _shape(path, given)
        self._input, self._output, self._type = given.name, out.name, _TYPES[given.type]
        import onnx

        graph = onnx.load(str(path), load_external_data=False).graph
        self.preprocessing = _preprocessing(path, graph, self._session, channels, self.size)
        self.register_buffer("sha256", _digest(path, graph))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings float32, shape (b, d); in portions where the file fixes the batch.

        Raises
        ------
        ValueError : ONNX Runtime fails, or gives something else than one embedding an image
        """
        step = self.batch or max(len(images), 1)
        parts = [
            self._run(images[start : start + step], step) for start in range(0, len(images), step)
        ]
        return torch.cat(parts)

    def _run(self, images: Tensor, step: int) -> Tensor:
        x = images.numpy().astype(self._type)
        if self.batch:  # the last portion may be smaller; what fills it up is dropped again below
            x = np.concatenate([x, np.zeros((step - len(x), *x.shape[1:]), dtype=x.dtype)])
        try:
            (found,) = self._session.run([self._output], {self._input: x})
        except Exception as error:  # ONNX Runtime has a dozen kinds
            raise ValueError(
                f"ONNX Runtime cannot run it on {len(x)} images: {_one_line(error)}"
            ) from error
        if found.ndim != 2 or len(found) != len(x):
            raise ValueError(
                f"it gives {_sides(found.shape)} numbers for {len(x)} images, not one embedding "
                f"each"
            )
        return torch.from_numpy(found[: len(images)].astype(np.float32))


def _session(path: Path, threads: int) -> Any:
    require("export", f"{path}: an ONNX file", "onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds
        raise CdmlLabError(f"{path} is not readable as ONNX: {_one_line(error)}") from error


def _ends(path: Path, session: Any) -> tuple[Any, Any]:
    """The input and the output."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise CdmlLabError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a recognition model has "
            f"one of each"
        )
    return inputs[0], outputs[0]


def _shape(path: Path, given: Any) -> tuple[int | None, int, int]:
    """The batch (None for any), the channels, and the side in pixels."""
    shape = given.shape
    if (
        given.type not in _TYPES
        or len(shape) != 4
        or shape[1] not in (1, 3)
        or shape[2] != shape[3]
    ):
        raise CdmlLabError(
            f"{path} takes {given.type} of shape {_sides(shape)}; a recognition model takes float "
            f"images "
            "of shape batch x 1 or 3 x side x side"
        )
    if not isinstance(shape[2], int):
        raise CdmlLabError(
            f"{path} takes images of any size and does not say which it was trained on"
        )
    return shape[0] if isinstance(shape[0], int) else None, shape[1], shape[2]


def _preprocessing(path: Path, graph: Any, session: Any, channels: int, size: int) -> Preprocessing:
    """What the file itself says, or insightface's rule for its own recognition models.

    A model with a subtraction and a multiplication among its first nodes, by the names that MXNet's
    exporter gives them, takes pixels as they are; every other takes (x - 127.5) / 127.5. Source:
    model_zoo/arcface_onnx.py of https://github.com/deepinsight/insightface
    """
    said = session.get_modelmeta().custom_metadata_map.get(OWN_INPUT)
    if said is not None:
        try:
            plain = check(json.loads(said))
        except (TypeError, ValueError) as error:
            raise CdmlLabError(f"{path}: what it says of its input is broken: {error}") from error
        if plain["size"] != size or channels_of(plain) != channels:
            raise CdmlLabError(
                f"{path} takes {channels} x {size} x {size}, and says of its input {said}"
            )
        return plain
    if channels != 3:
        raise CdmlLabError(f"{path} takes grey images and does not say how they are normalised")
    first = [node.name for node in graph.node[:_FIRST_NODES]]
    inside = all(
        any(name.startswith(kind) for name in first)
        for kind in (("Sub", "_minus"), ("Mul", "_mul"))
    )
    own = {"mean": [0.0] * 3, "std": [1.0 / 255.0] * 3} if inside else {}
    return {**INSIGHTFACE, "size": size, **own}


def _digest(path: Path, graph: Any) -> Tensor:
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    outside = {
        ExternalDataInfo(tensor).location
        for tensor in graph.initializer
        if uses_external_data(tensor)
    }
    for name in sorted(outside):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{path} keeps weights in {plain(name, 80)!r}, which is not below its folder"
            )
    found = hashlib.sha256()
    for file in (path, *(path.parent / name for name in sorted(outside))):
        found.update(read_bytes(file, "a file of weights", at_most=_LARGEST))
    return torch.frombuffer(bytearray(found.digest()), dtype=torch.uint8)


def _sides(shape: Any) -> str:
    return " x ".join(str(side) if isinstance(side, int) else "any" for side in shape) or "no"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
