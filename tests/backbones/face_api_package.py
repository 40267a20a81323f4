"""face-api's package with random weights, and its forward pass from the definition, in NumPy."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

MODEL = "package/model/face_recognition_model"
BIN, MANIFEST = f"{MODEL}.bin", f"{MODEL}-weights_manifest.json"
STAGES = [
    ("conv32_1", 32), ("conv32_2", 32), ("conv32_3", 32),
    ("conv64_down", 64), ("conv64_1", 64), ("conv64_2", 64), ("conv64_3", 64),
    ("conv128_down", 128), ("conv128_1", 128), ("conv128_2", 128),
    ("conv256_down", 256), ("conv256_1", 256), ("conv256_2", 256), ("conv256_down_out", 256),
]  # fmt: skip


def shapes():
    """Every tensor of the file, in its order."""
    out = _convolution("conv32_down", 7, 3, 32)
    now = 32
    for name, width in STAGES:
        out |= _convolution(f"{name}/conv1", 3, now, width) | _convolution(
            f"{name}/conv2", 3, width, width
        )
        now = width
    return out | {"fc": (256, 128)}


def tensors(seed=0):
    """Random weights that keep the scale of signals through the network."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes().items():
        if len(shape) > 1:
            out[name] = rng.normal(0.0, np.prod(shape[:-1]) ** -0.5, shape)
        elif name.endswith("scale/weights"):
            out[name] = rng.uniform(0.5, 1.2, shape)
        else:
            out[name] = rng.normal(0.0, 0.1, shape)
    return {name: values.astype(np.float32) for name, values in out.items()}


def encoded(weights, quantised=lambda name: True):
    """The manifest and bytes of a group, and the values that the bytes encode."""
    entries, content, meant = [], b"", {}
    for name, values in weights.items():
        entry = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        if quantised(name):
            low, step = float(values.min()), float(values.max() - values.min()) / 255.0
            levels = np.round((values.astype(np.float64) - low) / step).astype(np.uint8)
            entry["quantization"] = {"dtype": "uint8", "scale": step, "min": low}
            content += levels.tobytes()
            meant[name] = (levels * step + low).astype(np.float32)
        else:
            content += values.astype("<f4").tobytes()
            meant[name] = values
        entries.append(entry)
    return [{"paths": [Path(BIN).name], "weights": entries}], content, meant


def write(folder, quantised=lambda name: not name.startswith("conv64"), seed=0):
    """Write both files to a folder; return the manifest's path and the decoded weights."""
    manifest, content, meant = encoded(tensors(seed), quantised)
    path = Path(folder) / Path(MANIFEST).name
    path.write_text(json.dumps(manifest, indent=2))
    (Path(folder) / Path(BIN).name).write_bytes(content)
    return path, meant


def tarball(path, seed=0, leave_out=()):
    """The package in npm's format."""
    manifest, content, meant = encoded(tensors(seed))
    files = {"package/package.json": b"{}", BIN: content, MANIFEST: json.dumps(manifest).encode()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            if name not in leave_out:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return meant


def forward(weights, image):
    """One image [h, w, 3], normalised, to its embedding [128], in float64."""
    x = np.maximum(_conv(weights, "conv32_down", image.astype(np.float64), 2, 0), 0.0)
    x = _windows(x, 3, 2).max(axis=(3, 4))
    for name, _ in STAGES:
        down = "down" in name
        y = np.maximum(_conv(weights, f"{name}/conv1", x, 2 if down else 1, 0 if down else 1), 0.0)
        y = _conv(weights, f"{name}/conv2", y, 1, 1)
        if down:
            x = _windows(x, 2, 2).mean(axis=(3, 4))
        total = np.zeros((*x.shape[:2], y.shape[2]))  # zeros where one of the two ends early
        total[:, :, : x.shape[2]] += x
        total[: y.shape[0], : y.shape[1]] += y
        x = np.maximum(total, 0.0)
    return x.mean(axis=(0, 1)) @ weights["fc"].astype(np.float64)


def _convolution(name, side, width_in, width_out):
    one = (width_out,)
    return {
        f"{name}/conv/filters": (side, side, width_in, width_out), f"{name}/conv/bias": one,
        f"{name}/scale/weights": one, f"{name}/scale/biases": one,
    }  # fmt: skip


def _windows(x, side, stride):
    """[h, w, c] to [h', w', c, side, side], without incomplete windows."""
    return np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))[
        ::stride, ::stride
    ]


def _conv(weights, name, x, stride, padding):
    filters = weights[f"{name}/conv/filters"].astype(np.float64)
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    y = np.einsum("hwcij,ijco->hwo", _windows(x, len(filters), stride), filters, optimize=True)
    y = y + weights[f"{name}/conv/bias"]
    return y * weights[f"{name}/scale/weights"] + weights[f"{name}/scale/biases"]
