"""Export a backbone to an ONNX file that can replace one of insightface's recognition models.

insightface takes the input's size from the file, feeds RGB as (x - 127.5) / 127.5 unless the file
begins with a subtraction and a multiplication by their old names, and expects one output. So the
file takes that input, and converts it to what the network was trained with.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cdmllab.backbones import Backbone
from cdmllab.errors import optional
from cdmllab.export.agreement import Embed, Floats
from cdmllab.export.onnx_network import OWN_INPUT

with optional("export", "an ONNX file"):
    import onnx
    import onnxruntime
from cdmllab.export.source import ExportSource
from cdmllab.preprocessing import Preprocessing, usual

OPSET = 18
INPUT, OUTPUT = "data", "embedding"


class Standardised(nn.Module):
    """A backbone that takes insightface's input, RGB or grey in [-1, 1]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: Backbone, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net = net
        self.flip = preprocessing["channels"] == "BGR"
        given = usual(preprocessing)
        # The network's input (pixel - mean) / std, from data = (pixel - usual_mean) / usual_std.
        mean, std, usual_mean, usual_std = (
            torch.tensor(values).view(-1, 1, 1)
            for values in (preprocessing["mean"], preprocessing["std"], given["mean"], given["std"])
        )
        self.register_buffer("scale", usual_std / std)
        self.register_buffer("shift", (usual_mean - mean) / std)
        # If there is nothing to convert, the file gets no further operations.
        self.moved = not (torch.all(self.scale == 1.0) and torch.all(self.shift == 0.0))

    def forward(self, data: Tensor) -> Tensor:
        """Shape (b, channels, size, size) to embeddings (b, d)."""
        x = data.flip(1) if self.flip else data  # RGB to BGR
        if self.moved:
            x = x * self.scale + self.shift
        # Not `forward`, whose checks and precisions have no place in the file.
        return self.net.output(self.net.trunk(x))


def write(source: ExportSource, path: Path) -> None:
    """Write the network in float32 with a dynamic batch size, in opset `OPSET`."""
    net = source.net
    # Two images: the exporter would take a batch of one for a constant.
    example = torch.zeros(2, net.channels, net.size, net.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            Standardised(net, source.preprocessing).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"data": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(path)
    # Remove paths of this machine; add what identifies the network and its input.
    model = onnx.load(path)
    _remove_source_notes(model)
    onnx.helper.set_model_props(
        model,
        {
            "cdmllab.backbone": source.name,
            OWN_INPUT: json.dumps(usual(source.preprocessing)),
            "cdmllab.git_commit": source.git_commit,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def runtime(path: Path, threads: int = 1) -> Embed:
    """Open the file in ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(images: Floats) -> Floats:
        out: Floats = np.asarray(session.run([OUTPUT], {INPUT: images})[0], dtype=np.float32)
        return out

    return embed


def _remove_source_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on source lines, which contain paths of this machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.doc_string = ""
        part.ClearField("metadata_props")
