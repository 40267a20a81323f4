"""Data: reading records, decoding images, and the full pipeline to a batch, against peers.

    cdmllab bench data [--rounds N] [--quick] [--mxnet PYTHON]

The records are 112 x 112 JPEGs in a pack created for the run, from LFW if it is in a data folder,
otherwise synthetic. mxnet's own reader is measured if a Python with mxnet is given; it reads the
same file in its own process, in the same rounds. Everything runs on one core, with one thread. The
pipeline's peer is the usual one: a data set whose ``__getitem__`` decodes an image with PIL, flips
and normalises it, collated by torch's DataLoader.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import interleaved, write
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from cdmllab import preprocessing
from cdmllab.data import lfw
from cdmllab.data.decode import decode, decode_batch_cuda, encode_jpeg
from cdmllab.data.loaders import Loader
from cdmllab.data.packs import Pack
from cdmllab.data.packwriter import PackWriter
from cdmllab.data.recordio import RecordFile

BATCH = 128

MXNET_READER = """
import json, sys, time
import mxnet as mx
record = mx.recordio.MXIndexedRecordIO(sys.argv[1] + "/train.idx", sys.argv[1] + "/train.rec", "r")
for line in sys.stdin:
    start = time.perf_counter()
    count = sum(record.read_idx(key) is not None for key in record.keys)
    print(json.dumps([count, time.perf_counter() - start]), flush=True)
"""


def make_pack(folder: Path, images: int) -> str:
    """Write a pack of `images` JPEGs and return a description of their content."""
    if lfw.available():
        faces, content = lfw.images(colour="RGB").images[:images], "LFW at 112 x 112"
    else:
        rng, content = np.random.default_rng(0), "synthetic, 112 x 112"
        coarse = rng.integers(0, 256, (images, 14, 14, 3), dtype=np.uint8)
        faces = np.stack(
            [
                np.asarray(Image.fromarray(c).resize((112, 112), Image.Resampling.BICUBIC))
                for c in coarse
            ]
        )
    with PackWriter(folder) as writer:
        for k in range(images):
            writer.add(str(k), f"person {k // 20}", encode_jpeg(faces[k % len(faces)]))
        writer.finish(112)
    return content


class PerSample(Dataset[tuple[Tensor, int]]):
    """The peer: PIL, then torchvision, one image at a time."""

    def __init__(self, pack: Pack) -> None:
        self.pack, self.labels = pack, pack.labels.tolist()
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.pack)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image: Tensor = self.transform(Image.open(io.BytesIO(self.pack.image(row))).convert("RGB"))
        return image, self.labels[row]


def every_record(file: RecordFile, passes: int) -> int:
    return sum(len(view) > 0 for _ in range(passes) for view in file)


def by_number(file: RecordFile, passes: int) -> int:
    return sum(len(file[k]) > 0 for _ in range(passes) for k in range(len(file)))


def ours(loader: Loader) -> None:
    for batch in loader:
        preprocessing.apply(batch.images, preprocessing.INSIGHTFACE)


def theirs(loader: DataLoader[tuple[Tensor, int]]) -> None:
    for _ in loader:
        pass


def each(decoder: Callable[[bytes], Any], jpegs: list[bytes]) -> None:
    for jpeg in jpegs:
        decoder(jpeg)


def with_pil(jpeg: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def with_torchvision(jpeg: bytes) -> Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8), mode=ImageReadMode.RGB)


class Mxnet:
    """mxnet's reader in its own process; one call reads every record once."""

    def __init__(self, python: str, folder: Path) -> None:
        command = [python, "-W", "ignore", "-c", MXNET_READER, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few images; the result is not saved")
    parser.add_argument(
        "--mxnet",
        metavar="PYTHON",
        help="a Python with mxnet, to measure its reader as well",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, images = Path(name), 1_024 if chosen.quick else 4_096
        content = make_pack(folder, images)
        pack = Pack(folder)
        file, jpegs, passes = pack.file, [bytes(pack.image(k)) for k in range(images)], 20
        peers: dict[str, Callable[[], object]] = {}
        if chosen.mxnet:
            peers["mxnet, read_idx"] = Mxnet(chosen.mxnet, folder)
        cases: dict[str, Callable[[], object]] = {
            "records: views, in order": partial(every_record, file, passes),
            "records: views, by number": partial(by_number, file, passes),
            "records: scan without index": lambda: RecordFile(folder / "train.rec"),
            "decode: PIL": partial(each, with_pil, jpegs),
            "decode: torchvision.io": partial(each, with_torchvision, jpegs),
            "decode: ours": partial(each, partial(decode, where="benchmark", upright=False), jpegs),
            "decode: ours, fast": partial(
                each, partial(decode, where="benchmark", fast=True, upright=False), jpegs
            ),
            "pipeline: PIL per sample": partial(
                theirs, DataLoader(PerSample(pack), BATCH, shuffle=True, drop_last=True)
            ),
            "pipeline: ours": partial(ours, Loader(pack, BATCH, augmentation="flip")),
            "pipeline: ours, fast": partial(
                ours, Loader(Pack(folder, fast=True), BATCH, augmentation="flip")
            ),
            "pipeline: ours, document": partial(
                ours, Loader(pack, BATCH, augmentation="datn_page")
            ),
            **peers,
        }
        if torch.cuda.is_available():
            cases["decode: nvJPEG, a batch"] = lambda: [
                decode_batch_cuda(jpegs[k : k + BATCH], "benchmark")
                for k in range(0, images, BATCH)
            ]
        seconds = interleaved(cases, chosen.rounds)
        for peer in peers.values():
            peer.close()  # type: ignore[attr-defined]
        records, batches = len(file), images // BATCH * BATCH
        done = {
            name: records * passes if "views" in name else batches if "pipeline" in name else
            images if "decode" in name else records
            for name in cases
        }  # fmt: skip
        per_second = {name: done[name] / value for name, value in seconds.items()}
        equal = all(np.array_equal(with_pil(jpeg), decode(jpeg, "")) for jpeg in jpegs[:500])
        ratios = {
            "decoding, ours to PIL": per_second["decode: ours"] / per_second["decode: PIL"],
            "decoding, torchvision.io to PIL": per_second["decode: torchvision.io"]
            / per_second["decode: PIL"],
            "pipeline, ours to PIL per sample": per_second["pipeline: ours"]
            / per_second["pipeline: PIL per sample"],
            "pipeline, ours fast to PIL per sample": (
                per_second["pipeline: ours, fast"] / per_second["pipeline: PIL per sample"]
            ),
        }
        if torch.cuda.is_available():
            nvjpeg = per_second["decode: nvJPEG, a batch"]
            ratios["decoding, nvJPEG a batch at a time to ours"] = (
                nvjpeg / per_second["decode: ours"]
            )
        if chosen.mxnet:
            views, mxnet = per_second["records: views, in order"], per_second["mxnet, read_idx"]
            ratios["records, views in order to mxnet"] = views / mxnet
            ratios["records, views by number to mxnet"] = (
                per_second["records: views, by number"] / mxnet
            )
    for case, value in per_second.items():
        print(f"  {case:32} {value:12,.0f} per second")
    for name, value in ratios.items():
        print(f"  {name:44} {value:6.2f} x")
    print(f"  pixels equal to PIL's bit for bit: {equal}")
    result = {
        "images": images,
        "shown": content,
        "mean_bytes": round(sum(map(len, jpegs)) / images),
        "bit_equal_to_pil": equal,
        "per_second": {name: round(value, 1) for name, value in per_second.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
    }
    if not chosen.quick:
        print(f"\nwritten to {write('data', result)}", file=sys.stderr)


if __name__ == "__main__":
    main()
