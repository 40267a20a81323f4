"""Evaluate ONNX files as networks: insightface's recognition models and our exports."""

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

OWN_INPUT = "cdmllab.input"  # the key of the preprocessing in the metadata of our exports
_FIRST_NODES = 8  # in which insightface looks for a subtraction and a multiplication
_LARGEST = 64 << 30  # bytes of a file
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork(nn.Module):
    """An ONNX file on the CPU, from images [b, channels, size, size] to embeddings [b, d].

    Attributes
    ----------
    preprocessing : from uint8 images to its input: as our exports record it, or insightface's
    size : height and width of its input in pixels
    sha256 : of the file and of weights stored next to it, [32]; a buffer, so that
        `evaluate.cached.digest` identifies the network

    Raises
    ------
    CdmlLabError : ONNX Runtime is not installed, the file cannot be read, or it is not a network
        from square images of one or three channels to one embedding each
    """

    sha256: Tensor

    def __init__(self, path: Path, threads: int = 1) -> None:
        super().__init__()
        if not path.is_file():
            raise CdmlLabError(f"{path} does not exist")
        self._session = _session(path, threads)
        given, out = _ends(path, self._session)
        self.batch, channels, self.size = _shape(path, given)
        self._input, self._output, self._type = given.name, out.name, _TYPES[given.type]
        import onnx

        # The graph alone, without weights that may be in other files.
        graph = onnx.load(str(path), load_external_data=False).graph
        self.preprocessing = _preprocessing(path, graph, self._session, channels, self.size)
        self.register_buffer("sha256", _digest(path, graph))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images, in batches if the file has a fixed batch size; float32 of shape (b, d).

        Raises
        ------
        ValueError : ONNX Runtime fails, or does not give one embedding per image
        """
        # A fixed batch size needs several runs, a dynamic one takes all images at once.
        step = self.batch or max(len(images), 1)
        parts = [
            self._run(images[start : start + step], step) for start in range(0, len(images), step)
        ]
        return torch.cat(parts)

    def _run(self, images: Tensor, step: int) -> Tensor:
        x = images.numpy().astype(self._type)
        if self.batch:  # pad the last batch; the padding is dropped below
            x = np.concatenate([x, np.zeros((step - len(x), *x.shape[1:]), dtype=x.dtype)])
        try:
            (embeddings,) = self._session.run([self._output], {self._input: x})
        except Exception as error:  # ONNX Runtime has a dozen kinds
            raise ValueError(
                f"ONNX Runtime cannot run it on {len(x)} images: {_one_line(error)}"
            ) from error
        if embeddings.ndim != 2 or len(embeddings) != len(x):
            raise ValueError(
                f"its output for {len(x)} images has shape {_sides(embeddings.shape)}, not one "
                f"embedding per image"
            )
        return torch.from_numpy(embeddings[: len(images)].astype(np.float32))


def _session(path: Path, threads: int) -> Any:
    require("export", f"{path}: an ONNX file", "onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds
        raise CdmlLabError(f"{path} is not readable as ONNX: {_one_line(error)}") from error


def _ends(path: Path, session: Any) -> tuple[Any, Any]:
    """The descriptions of the input and the output."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise CdmlLabError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, but a recognition model "
            f"has one of each"
        )
    return inputs[0], outputs[0]


def _shape(path: Path, given: Any) -> tuple[int | None, int, int]:
    """The batch size (None if dynamic), the channels, and the side in pixels."""
    shape = given.shape
    if (
        given.type not in _TYPES
        or len(shape) != 4
        or shape[1] not in (1, 3)
        or shape[2] != shape[3]
    ):
        raise CdmlLabError(
            f"{path} takes {given.type} of shape {_sides(shape)}, but a recognition model takes "
            f"float images of shape batch x 1 or 3 x side x side"
        )
    # A dynamic size is a name, not a number.
    if not isinstance(shape[2], int):
        raise CdmlLabError(
            f"{path} takes images of any size and does not record the size it was trained on"
        )
    return shape[0] if isinstance(shape[0], int) else None, shape[1], shape[2]


def _preprocessing(path: Path, graph: Any, session: Any, channels: int, size: int) -> Preprocessing:
    """The recorded preprocessing, or insightface's rule for its own recognition models.

    A model whose first nodes contain a subtraction and a multiplication, by the names that MXNet's
    exporter gives them, takes pixels from 0 to 255; every other takes (x - 127.5) / 127.5. Source:
    model_zoo/arcface_onnx.py of https://github.com/deepinsight/insightface
    """
    recorded = session.get_modelmeta().custom_metadata_map.get(OWN_INPUT)
    if recorded is not None:
        try:
            plain = check(json.loads(recorded))
        except (TypeError, ValueError) as error:
            raise CdmlLabError(
                f"{path}: its metadata key {OWN_INPUT} is invalid: {error}"
            ) from error
        if plain["size"] != size or channels_of(plain) != channels:
            raise CdmlLabError(
                f"{path} takes {channels} x {size} x {size}, but its metadata say {recorded}"
            )
        return plain
    if channels != 3:
        raise CdmlLabError(f"{path} takes grey images and does not record their normalisation")
    first = [node.name for node in graph.node[:_FIRST_NODES]]
    inside = all(
        any(name.startswith(kind) for name in first)
        for kind in (("Sub", "_minus"), ("Mul", "_mul"))
    )
    # A mean of 0 and a std of 1/255 turn pixels divided by 255 back into pixels.
    own = {"mean": [0.0] * 3, "std": [1.0 / 255.0] * 3} if inside else {}
    return {**INSIGHTFACE, "size": size, **own}


def _digest(path: Path, graph: Any) -> Tensor:
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    # Weights may be in other files, which are part of the network's identity too.
    outside = {
        ExternalDataInfo(tensor).location
        for tensor in graph.initializer
        if uses_external_data(tensor)
    }
    for name in sorted(outside):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{path} has weights in {plain(name, 80)!r}, which is outside of its folder"
            )
    sha256 = hashlib.sha256()
    for file in (path, *(path.parent / name for name in sorted(outside))):
        sha256.update(read_bytes(file, "a file of weights", at_most=_LARGEST))
    # `frombuffer` warns about a buffer that cannot be written, such as bytes.
    return torch.frombuffer(bytearray(sha256.digest()), dtype=torch.uint8)


def _sides(shape: Any) -> str:
    return " x ".join(str(side) if isinstance(side, int) else "any" for side in shape) or "no"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
