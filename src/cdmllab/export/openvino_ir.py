"""Convert an ONNX file to OpenVINO's format, an .xml with a .bin."""

from pathlib import Path
from typing import Literal

import numpy as np

from cdmllab.errors import optional
from cdmllab.export.agreement import Embed, Floats

with optional("openvino", "an OpenVINO file"):
    import openvino


def write(full: Path, path: Path) -> None:
    """Write `path` (.xml) and its .bin in float32, from a float32 ONNX file."""
    openvino.save_model(openvino.Core().read_model(full), path, compress_to_fp16=False)


def runtime(path: Path, precision: Literal["f32", "bf16"] = "f32", threads: int = 1) -> Embed:
    """Open a file (.xml or .onnx) in OpenVINO on the CPU.

    Precision bf16 is fast on processors with bfloat16 instructions.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,  # all threads work on one request
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()

    def embed(images: Floats) -> Floats:
        out: Floats = np.array(request.infer({0: images})[0], dtype=np.float32)
        return out

    return embed
