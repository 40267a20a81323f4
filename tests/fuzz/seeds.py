"""Seeds for fuzzing: valid files, as small as possible, and crafted invalid ones."""

import io
import json
import tempfile
import zipfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save

from cdmllab import backbones
from cdmllab.backbones import weights
from cdmllab.training import checkpoint

Files = dict[str, bytes]

CONFIG: dict[str, Any] = {
    "name": "x",
    "data": {"name": "digits", "augmentation": "small", "classes": [0, 1]},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 8, "channels": 1, "width": 4},
    "loss": {"name": "cdml", "scale": 16.0, "shape": "linear"},
    "optimiser": {"lr": 0.05, "milestones": [1]},
    "epochs": 2,
    "watch": {"validate_every": 5, "protocols": ["digits/known"]},
}
SWEEP = """# A sweep.
preset: lab/cpu/arcface
curves: [loss]
stages:
  tune:
    arms: &arms {a: {loss: {name: arcface}}, b: {loss: {name: cosface}}}
    grid: {loss.scale: [16, 24]}
    protocols: [digits/known]
    choose_for: all
  compare: {tuned_by: tune, seeds: 2, protocols: [digits/known], export: [onnx]}
  again: {<<: {seeds: [0, 1]}, start_from: compare, arms: *arms}
"""
_LETTERS = "abcdefghij"
HOSTILE_YAML = (
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in pairwise(_LETTERS)),
    "a: &a {x: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [{','.join(['*' + a] * 9)}]}}\n" for a, b in pairwise(_LETTERS)),
    "a: &a [*a]\n",
    "a: " + "[" * 900 + "]" * 900 + "\n",
    "\n".join(" " * n + "a:" for n in range(300)),
    "a: 1" + ":1" * 60_000,
    "a: " + "9" * 100_000,
    "a: !!python/object/apply:os.system [id]\n",
    "a: !!binary xxxx\n",
    "a: {" + "a," * 60_000 + "}",
    "? a\n" * 30_000,
    "1: 2\n",
    "a: 1\na: 2\n",
    "a: 2001-99-99\n",
    "\x00",
)


def as_yaml(values: dict[str, Any]) -> bytes:
    return yaml.safe_dump(values).encode()


def hostile_yaml() -> list[Files]:
    return [
        {"x.yaml": as_yaml(CONFIG)},
        {"x.yaml": SWEEP.encode()},
        *({"x.yaml": text.encode()} for text in HOSTILE_YAML),
    ]


def presets() -> list[Files]:
    changes: list[dict[str, Any]] = [
        {},
        {"base": "y"},
        *(
            {"backbone": CONFIG["backbone"] | {key: value}}
            for key, value in (
                ("width", [8]),
                ("width", 20_000),
                ("width", -1),
                ("embedding_dim", 2 * 10**9),
                ("size", "8"),
            )
        ),
        *({"loss": {"name": "subcenter_arcface", "centres_per_identity": k}} for k in (10**9, [2])),
        {"loss": {"name": "arcface", "margin_rad": float("nan")}},
        {"data": {"name": "pack", "folder": "../../etc"}},
        {"data": {"name": "digits", "classes": "abc"}},
        {"watch": {"validate_every": 1, "protocols": ["[" * 5000]}},
        {"seed": 10**30},
        {"name": "a\nb"},
        {"base": ["y"]},
        {"base": "../../../../dev/zero"},
    ]
    return [
        {"x.yaml": as_yaml(CONFIG | change), "y.yaml": as_yaml({"epochs": 3})} for change in changes
    ]


def sweeps() -> list[Files]:
    plain = yaml.safe_load(SWEEP)
    stage = {"arms": {"a": {"loss": {"name": "arcface"}}}, "protocols": ["digits/known"]}
    thousand = list(range(1000))
    stages: list[Any] = [
        *({"seeds": seeds} for seeds in (1_000_000_000, 10**30, -1, "x", [0, 0], [10**30], True)),
        {"grid": {"a": thousand, "b": thousand, "c": thousand}},
        {"grid": {"a": 3}},
        {"arms": {"a" * 5000: {}}},
        {"settings": {"a." * 5000: 1}},
        {"tuned_by": "nobody"},
        {"export": ["exe"]},
        [1],
        None,
    ]
    texts = [{"x.yaml": SWEEP.encode()}]
    texts += [
        {
            "x.yaml": as_yaml(
                plain | {"stages": {"s": stage | one if isinstance(one, dict) else one}}
            )
        }
        for one in stages
    ]
    return [*texts, {"x.yaml": as_yaml(plain | {"name": "../../x"})}]


def state() -> dict[str, Any]:
    """Every kind of value that a checkpoint contains."""
    return {
        "net": {
            "w": torch.arange(6.0).view(2, 3),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "n": torch.tensor(7),
        },
        "random": torch.arange(5, dtype=torch.uint8),
        "plain": {"a": 3, "b": 0.1, "c": None, "d": True, "e": "text"},
    }


@cache
def _checkpoint() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(Path(folder) / "kept", state())
        return {
            f"kept/{file.name}": file.read_bytes()
            for file in sorted((Path(folder) / "kept").iterdir())
        }


def checkpoints() -> list[Files]:
    kept = _checkpoint()
    split = json.loads(kept["kept/state.json"])
    split["tensors"]["net/w"]["rows"] = [1, 1]
    return [
        kept,
        kept | {"kept/state.json": json.dumps(split).encode()},
        kept | {"kept/.metadata": b"\x80\x04N."},
    ]


def index() -> list[Files]:
    """The index alone, as JSON."""
    return [{"state.json": _checkpoint()["kept/state.json"]}, {"state.json": b"[" * 100_000}]


@cache
def _release() -> tuple[bytes, dict[str, torch.Tensor]]:
    options = {key: value for key, value in CONFIG["backbone"].items() if key != "name"}
    net = backbones.create("small", **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        weights.save_release(net, path, name="small", options=options, config=CONFIG)
        return path.read_bytes(), net.state_dict()


def releases() -> list[Files]:
    good, tensors = _release()
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]
    options = json.loads(header["options"])
    contents = [good, b"\xff" * 8 + b"{}", b"\x80\x04N.", b""]
    for change in (
        *(
            {"options": json.dumps(options | {"width": width})}
            for width in (20_000, [8], -8, 10**30)
        ),
        {"options": json.dumps(options | {"embedding_dim": 2 * 10**9})},
        *(
            {"options": "[" * 100_000},
            {"options": '{"width": ' + "9" * 5000 + "}"},
            {"name": "x" * 100_000},
        ),
        {"preprocessing": json.dumps(json.loads(header["preprocessing"]) | {"size": 10**9})},
        {"preprocessing": "3"},
    ):
        contents.append(save(tensors, metadata=header | change))
    return [{"net.safetensors": content} for content in contents]


def pths() -> list[Files]:
    _, tensors = _release()
    wide = torch.zeros(1, dtype=torch.float16).expand(10**12)
    contents = []
    for held in (
        tensors,
        {"state_dict": tensors, "epoch": 3},
        {1: torch.zeros(2)},
        {"a": wide},
        {"a": torch.eye(2).to_sparse()},
    ):
        stream = io.BytesIO()
        torch.save(held, stream)
        contents.append(stream.getvalue())
    stream = io.BytesIO()
    torch.save(tensors, stream, _use_new_zipfile_serialization=False)
    return [
        {"net.pth": content}
        for content in (*contents, stream.getvalue(), b"\x80\x02]r\xff\xff\xff\x7f0.")
    ]


def _npy(text: str, content: bytes = b"") -> bytes:
    """An array whose header is this text."""
    header = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def _npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def arrays(**values: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


def npz_protocols() -> list[Files]:
    images = np.zeros((4, 8, 8, 1), np.uint8)
    good = {"images": images, "first": [0, 1], "second": [2, 3], "same": [True, False]}
    claims = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"
    contents = [
        arrays(**good),
        arrays(**good, fold=[0, 1], identity=[0, 0, 0, 1]),
        arrays(**good | {"first": [0, 10**12]}),
        arrays(**good | {"first": [0.5, np.nan]}),
        arrays(**good | {"images": images.astype(object)}),
        *(
            _npz(images=_npy(claims % (kind, shape)), first=b"", second=b"", same=b"")
            for kind, shape in (
                ("<f8", "(1000000000000,)"),
                ("|u1", "(-1,)"),
                ("(1,,2)f4", "(1,)"),
                ("|O", "(1,)"),
                ("<f8", "(" * 5000),
            )
        ),
        _npz(
            images=_npy(claims % ("|u1", "(200000000,)"), bytes(200_000_000)),
            first=b"",
            second=b"",
            same=b"",
        ),
    ]
    return [{"x.npz": content} for content in contents]


def evaluations() -> list[Files]:
    measures = {
        "protocol": "digits/known",
        "flip": False,
        "images": 4,
        "genuine_pairs": 1,
        "impostor_pairs": 1,
        "accuracy": None,
        "auc": {"value": 0.9},
        "eer": {"value": 0.1},
        "tar_at_far": [],
        "intervals": None,
    }
    scores = arrays(
        scores=np.array([0.1, 0.9]), is_same=np.array([False, True]), fold=np.array([0, 1])
    )
    return [
        {"x.json": json.dumps(measures).encode(), "x.npz": scores},
        {"x.json": b"[]", "x.npz": scores},
    ]


def journals() -> list[Files]:
    lines = "".join(json.dumps({"step": n, "loss": 0.5, "crc32": 7}) + "\n" for n in range(5))
    bad = (
        '{"step": 1}\n3\n[]\nnull\n"a"\n',
        '{"step": "x"}\n',
        '{"step"',
        "[" * 100_000,
        "9" * 10_000,
    )
    return [{"x.jsonl": text.encode()} for text in (lines, *bad)] + [{"x.jsonl": b"\xff\xfe\n{}\n"}]


def states() -> list[Files]:
    row = {
        "task": "a/s0",
        "state": "finished",
        "attempts": 1,
        "seconds": 3.5,
        "run": "r",
        "evaluations": {"p": "r/p.json"},
    }
    bad: list[Any] = [
        {},
        [1],
        [{"task": 3}],
        [row | {"evaluations": [1]}],
        [row | {"attempts": 10**30}],
        None,
    ]
    return [
        {"sweeps/lab_main/states.json": json.dumps(rows).encode()}
        for rows in ([row, row | {"task": "b"}], *bad)
    ]


def records() -> list[Files]:
    record = {"command": "x", "git_commit": None, "git_dirty": False, "versions": {}}
    bad: list[Any] = [[], 3, {"git_commit": 3}, {"git_commit": {"git_commit": ["x"]}}]
    return [
        {"results/lab/some.json": json.dumps(one).encode(), "book/x.md": b""}
        for one in (record, *bad)
    ]
