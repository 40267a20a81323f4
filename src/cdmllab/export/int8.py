"""Static int8 quantisation of an ONNX file with one scale per output channel."""

import logging
from pathlib import Path

from cdmllab.errors import optional
from cdmllab.export.agreement import Floats
from cdmllab.export.onnx_file import INPUT

with optional("export", "an int8 file"):
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )  # fmt: skip

_BATCH = 8


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Floats) -> None:
        self._batches = iter(
            [{INPUT: images[k : k + _BATCH]} for k in range(0, len(images), _BATCH)]
        )

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._batches, None)


def write(full: Path, path: Path, images: Floats) -> None:
    """Quantise the linear layer and all convolutions but the first of the float32 file `full`.

    The first convolution works on the pixels and has few of the multiply-accumulates: quantising it
    would cost accuracy and gain little.

    Parameters
    ----------
    full : an ONNX file of `onnx_file.write`
    path : where to write
    images : normalised images for calibration, shape (n, channels, size, size)
    """
    source = onnx.load(full)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends a step that the exporter has already done
    try:
        quantize_static(
            str(full),
            str(path),
            _Images(images),
            # The file keeps float operations, between pairs that quantise and dequantise (QDQ).
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm"],
            nodes_to_exclude=[
                next(node.name for node in source.graph.node if node.op_type == "Conv")
            ],
            per_channel=True,
            # x86 processors multiply unsigned activations by signed weights in one instruction.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        logger.setLevel(level)
    # Copy the metadata, from which `OnnxNetwork` takes the preprocessing.
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {prop.key: prop.value for prop in source.metadata_props})
    onnx.save(model, path)
