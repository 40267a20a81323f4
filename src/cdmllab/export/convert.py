"""From a trained backbone to a checked file for another runtime."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import replacing, workshop, write_text
from cdmllab.errors import CdmlLabError, require
from cdmllab.export import source
from cdmllab.export.agreement import Agreement
from cdmllab.export.check import ExportCheck
from cdmllab.preprocessing import usual
from cdmllab.runs import provenance

Kind = Literal["onnx", "openvino"]
_SUFFIXES: dict[Kind, str] = {"onnx": ".onnx", "openvino": ".xml"}
_NEEDED = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("onnx", "onnxruntime", "onnxscript", "openvino"),
}
# A float32 file may differ in the rounding of sums; a quantised one is judged by what it does to
# accuracy.
_EXACT = {"cosine_min": 0.9999, "cosine_mean": 0.9999}
_ROUGH = {"cosine_min": 0.0, "cosine_mean": 0.95}


class Exported(NamedTuple):
    """The files written, and how each way of running them compares with PyTorch."""

    files: tuple[Path, ...]  # the model first
    source: source.ExportSource
    agreement: dict[str, Agreement]  # by "float32", "int8", "bfloat16"


def export(
    path: Path,
    to: Kind,
    *,
    output: Path | None = None,
    int8: bool = False,
    identities: int = 100,
    max_drop_points: float = 0.5,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a backbone for another runtime, if it computes the same there; else raise and leave
    nothing.

    Parameters
    ----------
    path : a run's folder or a release
    to : ``"onnx"``, one file; ``"openvino"``, an .xml and a .bin
    output : the model's file; None puts it beside the release, or into the run's folder ``export``
    int8 : quantise, calibrated on face-lab images; with ``to="onnx"``
    identities : people in the face-lab protocol that accuracies are measured on
    max_drop_points : verification accuracy that may be lost, in percentage points
    seed : of the images and pairs
    threads : of the runtimes that are compared; torch keeps its own setting
    tell : is called with a line before each slow step

    Raises
    ------
    CdmlLabError : something that is needed is not installed, the source cannot be read, the file
        does not agree, or another process exports to the same place
    """
    require_packages(to)
    if int8 and to != "onnx":
        raise CdmlLabError("int8 goes with ONNX: --to onnx --int8")
    given = source.read(path)
    target = output or destination(path, to, int8=int8)
    if target.suffix != _SUFFIXES[to]:
        raise CdmlLabError(f"{target}: a file for {to} ends in {_SUFFIXES[to]}")
    wish = _Wish(to, int8, max_drop_points, threads, tell)
    with claimed(target):
        return _export(given, wish, target, identities, seed)


def _export(
    given: source.ExportSource, wish: "_Wish", target: Path, identities: int, seed: int
) -> Exported:
    wish.tell("drawing face-lab images")
    check = ExportCheck(given, identities, seed)
    with workshop(target.parent, ".export-") as folder:
        made, found = _make(given, wish, check, folder)
        files = _keep(made, target)
    report = target.with_name(f"{target.name}.json")
    record = {
        "backbone": given.name,
        "options": given.options,
        "input": usual(given.preprocessing),
        "trained_at": given.git_commit,
        "protocol": {
            "identities": identities,
            "pairs": len(check.protocol.pairs.same),
            "seed": seed,
        },
        "agreement": {name: one.plain() for name, one in found.items()},
        **provenance(),
    }
    write_text(report, json.dumps(record, indent=1) + "\n")
    return Exported((*files, report), given, found)


def destination(path: Path, to: Kind, *, int8: bool = False) -> Path:
    """Where the model's file goes unless another place is named: beside a release, or into a run's
    ``export``.
    """
    ending = f"{'-int8' if int8 else ''}{_SUFFIXES[to]}"
    return (
        path / f"export/backbone{ending}"
        if path.is_dir()
        else path.with_name(f"{path.stem}{ending}")
    )


class _Wish(NamedTuple):
    """What `export` was asked for."""

    to: Kind
    int8: bool
    max_drop_points: float
    threads: int
    tell: Callable[[str], None]


def _make(
    given: source.ExportSource, wish: _Wish, check: ExportCheck, folder: Path
) -> tuple[Path, dict[str, Agreement]]:
    """Write and check step by step; the last file made, and the agreement of each way of running
    it.
    """
    from cdmllab.export import onnx_file

    exact, rough = ({**limits, "drop_points": wish.max_drop_points} for limits in (_EXACT, _ROUGH))
    wish.tell(f"writing ONNX, opset {onnx_file.OPSET}")
    full = folder / "full.onnx"
    onnx_file.write(given, full)
    found = {"float32": check(onnx_file.runtime(full, wish.threads))}
    found["float32"].require(**exact)
    if wish.int8:
        from cdmllab.export import int8

        wish.tell("quantising")
        quantised = folder / "int8.onnx"
        int8.write(full, quantised, check.calibration())
        found["int8"] = check(onnx_file.runtime(quantised, wish.threads))
        found["int8"].require(**rough)
        return quantised, found
    if wish.to == "openvino":
        from cdmllab.export import openvino_ir

        wish.tell("writing OpenVINO's files")
        model = folder / "model.xml"
        openvino_ir.write(full, model)
        found = {"float32": check(openvino_ir.runtime(model, threads=wish.threads))}
        found["float32"].require(**exact)
        found["bfloat16"] = check(openvino_ir.runtime(model, "bf16", wish.threads))
        return model, found
    return full, found


def require_packages(to: Kind) -> None:
    """Raise `MissingPackageError` unless everything that an export needs is installed."""
    require("openvino" if to == "openvino" else "export", "this export", *_NEEDED[to])


def _keep(made: Path, target: Path) -> tuple[Path, ...]:
    """Rename what was made, and the .bin beside an .xml, over the target."""
    suffixes = (".bin", ".xml") if made.suffix == ".xml" else (made.suffix,)
    for suffix in suffixes:
        with replacing(target.with_suffix(suffix)) as temporary:
            made.with_suffix(suffix).replace(temporary)
    return tuple(target.with_suffix(suffix) for suffix in reversed(suffixes))
