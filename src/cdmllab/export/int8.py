"""Static int8 quantisation of an ONNX file with ONNX Runtime: one scale an output channel, calibrated on pictures."""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from cdmllab.export.agreement import Floats
from cdmllab.export.onnx_file import INPUT

_BATCH = 8


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: Floats) -> None:
        self._batches = iter([{INPUT: pictures[k : k + _BATCH]} for k in range(0, len(pictures), _BATCH)])

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._batches, None)


def write(full: Path, path: Path, pictures: Floats) -> None:
    """Quantise convolutions and the linear layer of the float32 file `full`.

    Parameters
    ----------
    full : an ONNX file of `onnx_file.write`
    path : where to write
    pictures : to calibrate with, normalised, shape (n, channels, size, size)
    """
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises a step that the exporter has done already
    try:
        quantize_static(
            str(full),
            str(path),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        logger.setLevel(level)
    model, said = onnx.load(path), onnx.load(full, load_external_data=False)
    onnx.helper.set_model_props(model, {prop.key: prop.value for prop in said.metadata_props})
    onnx.save(model, path)
