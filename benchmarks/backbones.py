"""Backbones, with one image and with sixty-four: ways of running them, against eager float32.

    cdmllab bench backbones [--rounds N] [--quick] [--models NAME ...] [--batches N ...]

All ways of running a network are measured in one process, in interleaved rounds, together with R18
in eager float32. This gives a ratio to the network's own eager float32, and one to R18. One thread
is used. ONNX Runtime and OpenVINO read the files that `cdmllab export` writes. The embeddings of
each way are compared with eager float32 on face-lab images.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from common import interleaved, write

from cdmllab import backbones, preprocessing
from cdmllab.backbones import Backbone, complexity
from cdmllab.export import images, int8, onnx_file, openvino_ir
from cdmllab.export.agreement import Embed, Floats, cosines
from cdmllab.export.source import ExportSource
from cdmllab.results import published_backbones

REFERENCE, YARDSTICK = "eager", "r18 eager"
TORCH_WAYS = {
    REFERENCE: {},
    "channels last": {"channels_last": True},
    "channels last, bf16": {"channels_last": True, "precision": "bfloat16"},
    "compiled": {"channels_last": True, "compiled": True},
}
QUICK = ["r18_lite", "r50_lite"]
WARM_UP_BATCHES = 10


def network(name: str, samples: torch.Tensor) -> Backbone:
    """A network with random weights, and running statistics that prevent overflow."""
    torch.manual_seed(0)
    net = backbones.create(name).train()
    with torch.no_grad():
        for part in samples.split(len(samples) // WARM_UP_BATCHES):
            net(part)
    return net.eval()


def ways(net: Backbone, name: str, folder: Path, samples: torch.Tensor) -> dict[str, Embed]:
    """All ways of running a network, as functions from images [b, 3, 112, 112] to embeddings."""
    out: dict[str, Embed] = {
        way: in_torch(name, net, **options) for way, options in TORCH_WAYS.items()
    }
    full, quantised = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
    onnx_file.write(ExportSource(net, name, {}, preprocessing.standard(3, net.size), {}, ""), full)
    int8.write(full, quantised, samples[:64].numpy())
    out["onnxruntime"] = onnx_file.runtime(full)
    out["onnxruntime, int8"] = onnx_file.runtime(quantised)
    out["openvino"] = openvino_ir.runtime(full)
    out["openvino, bf16"] = openvino_ir.runtime(full, "bf16")
    return out


def in_torch(name: str, net: Backbone, **options: object) -> Embed:
    """A copy of the network, run by PyTorch."""
    twin = backbones.create(name)
    twin.load_state_dict(net.state_dict())
    twin.eval().speed_up(**options)  # type: ignore[arg-type]

    @torch.inference_mode()
    def embed(x: Floats) -> Floats:
        out: Floats = twin(torch.from_numpy(x)).numpy()
        return out

    return embed


def measure(
    name: str, batches: list[int], rounds: int, yardstick: Embed, samples: torch.Tensor
) -> dict[str, object]:
    # The compiled forms of previous networks would count towards dynamo's limit.
    torch.compiler.reset()
    net = network(name, samples)
    row = published_backbones.TABLE[name]
    with TemporaryDirectory() as folder:
        running = ways(net, name, Path(folder), samples)
        # One image at a time: another batch size would compile the network again.
        few = {
            way: np.concatenate([embed(x[None].numpy()) for x in samples[:8]])
            for way, embed in running.items()
        }
        agreement = {way: float(cosines(e, few[REFERENCE]).min()) for way, e in few.items()}
        times = {}
        for batch in batches:
            x = np.ascontiguousarray(samples[:1].expand(batch, -1, -1, -1).numpy())
            cases: dict[str, Callable[[], object]] = {YARDSTICK: partial(yardstick, x)}
            cases |= {way: partial(embed, x) for way, embed in running.items()}
            print(f"{name}, batch {batch}", file=sys.stderr)
            times[batch] = interleaved(cases, rounds if batch == 1 else max(2, rounds // 2))
    return {
        "backbone": name,
        "gmacs": complexity.cost(net).gmacs,
        "published_cpu_ms": row.cpu_ms,
        "published_ratio_to_r18": round(row.cpu_ms / published_backbones.TABLE["r18"].cpu_ms, 3),
        "ways": [
            {
                "way": way,
                "cosine_min": round(agreement[way], 5),
                **{
                    f"batch_{batch}": {
                        "ms": round(1e3 * seconds[way], 2),
                        "speed_up": round(seconds[REFERENCE] / seconds[way], 3),
                        "ratio_to_r18": round(seconds[way] / seconds[YARDSTICK], 3),
                    }
                    for batch, seconds in times.items()
                },
            }
            for way in running
        ],
    }


def show(result: dict[str, object]) -> None:
    name, published_ratio = result["backbone"], result["published_ratio_to_r18"]
    print(f"\n{name}: {result['gmacs']:.3f} GMACs; published ratio to R18 {published_ratio}")
    for way in result["ways"]:  # type: ignore[attr-defined]
        print(f"  {way['way']:20} cosine >= {way['cosine_min']:.4f}", end="")
        for key, times in way.items():
            if key.startswith("batch"):
                ratios = f"{times['speed_up']:5.2f} x eager, {times['ratio_to_r18']:6.3f} x R18"
                print(f"   {key.replace('_', ' ')}: {times['ms']:9.2f} ms, {ratios}", end="")
        print()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds of single images; half as many of batches"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(published_backbones.TABLE),
        default=list(published_backbones.TABLE),
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64])
    parser.add_argument(
        "--quick", action="store_true", help="two models, one image; the result is not saved"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    models, batches = (QUICK, [1]) if chosen.quick else (chosen.models, chosen.batches)
    used = preprocessing.standard(3, 112)
    samples = preprocessing.apply(images.calibration(80, 112), used)
    yardstick = in_torch("r18", network("r18", samples))
    results = []
    for name in models:
        results.append(measure(name, batches, chosen.rounds, yardstick, samples))
        show(results[-1])
    complete = models == list(published_backbones.TABLE) and 1 in batches
    if complete:
        print(
            f"\nwritten to {write('backbones', {'rounds': chosen.rounds, 'models': results})}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
