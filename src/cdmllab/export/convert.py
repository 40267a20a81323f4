"""Export a trained backbone to a file for another runtime, and check the file."""

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
# A float32 file may differ by the rounding of sums only; a quantised one is tested by its accuracy.
_EXACT = {"cosine_min": 0.9999, "cosine_mean": 0.9999}
_ROUGH = {"cosine_min": 0.0, "cosine_mean": 0.95}


class Exported(NamedTuple):
    """The written files, and the agreement with PyTorch in each precision."""

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
    report: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Export a backbone if it computes the same in the other runtime; otherwise raise.

    Nothing is left behind after an error.

    Parameters
    ----------
    path : a run's folder or a release
    to : ``"onnx"`` for one file, ``"openvino"`` for an .xml and a .bin
    output : the model's file; default next to the release, or in the run's folder ``export``
    int8 : quantise, calibrated on face-lab images; only with ``to="onnx"``
    identities : people in the face-lab protocol for accuracy
    max_drop_points : accuracy that may be lost, in percentage points
    seed : of the images and pairs
    threads : of the other runtime; PyTorch keeps its own setting
    report : called with a line before each slow step

    Raises
    ------
    CdmlLabError : a package is not installed, the source cannot be read, the file does not agree
        with PyTorch, or another process is exporting to the same file
    """
    require_packages(to)
    if int8 and to != "onnx":
        raise CdmlLabError("int8 needs ONNX: --to onnx --int8")
    given = source.read(path)
    target = output or destination(path, to, int8=int8)
    if target.suffix != _SUFFIXES[to]:
        raise CdmlLabError(f"{target}: a file for {to} must end in {_SUFFIXES[to]}")
    request = _Request(to, int8, max_drop_points, threads, report)
    with claimed(target):
        return _export(given, request, target, identities, seed)


def _export(
    given: source.ExportSource, request: "_Request", target: Path, identities: int, seed: int
) -> Exported:
    request.report("drawing face-lab images")
    check = ExportCheck(given, identities, seed)
    # Files are made and checked in a temporary folder, and moved only if they pass.
    with workshop(target.parent, ".export-") as folder:
        made, agreement = _make(given, request, check, folder)
        files = _keep(made, target)
    report = target.with_name(f"{target.name}.json")
    # The report next to the model: what was exported, and how it was tested.
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
        "agreement": {name: one.plain() for name, one in agreement.items()},
        **provenance(),
    }
    write_text(report, json.dumps(record, indent=1) + "\n")
    return Exported((*files, report), given, agreement)


def destination(path: Path, to: Kind, *, int8: bool = False) -> Path:
    """The default path of the model's file: next to a release, or in a run's ``export``."""
    ending = f"{'-int8' if int8 else ''}{_SUFFIXES[to]}"
    return (
        path / f"export/backbone{ending}"
        if path.is_dir()
        else path.with_name(f"{path.stem}{ending}")
    )


class _Request(NamedTuple):
    """Options of an export."""

    to: Kind
    int8: bool
    max_drop_points: float
    threads: int
    report: Callable[[str], None]


def _make(
    given: source.ExportSource, request: _Request, check: ExportCheck, folder: Path
) -> tuple[Path, dict[str, Agreement]]:
    """Write and check the files step by step; the last file, and the agreement by precision."""
    from cdmllab.export import onnx_file

    # The limits on the similarity of embeddings, each with the limit on the loss of accuracy.
    exact, rough = (
        {**limits, "drop_points": request.max_drop_points} for limits in (_EXACT, _ROUGH)
    )
    # The float32 ONNX file comes first, since the other formats are made from it.
    request.report(f"writing ONNX, opset {onnx_file.OPSET}")
    full = folder / "full.onnx"
    onnx_file.write(given, full)
    agreement = {"float32": check(onnx_file.runtime(full, request.threads))}
    agreement["float32"].require(**exact)
    if request.int8:
        from cdmllab.export import int8

        request.report("quantising")
        quantised = folder / "int8.onnx"
        int8.write(full, quantised, check.calibration())
        agreement["int8"] = check(onnx_file.runtime(quantised, request.threads))
        agreement["int8"].require(**rough)
        return quantised, agreement
    if request.to == "openvino":
        from cdmllab.export import openvino_ir

        request.report("writing OpenVINO's files")
        model = folder / "model.xml"
        openvino_ir.write(full, model)
        # The files to deliver are OpenVINO's: their check takes the place of the ONNX file's.
        agreement = {"float32": check(openvino_ir.runtime(model, threads=request.threads))}
        agreement["float32"].require(**exact)
        # Only reported: bfloat16 is chosen when the file is run, and changes nothing in it.
        agreement["bfloat16"] = check(openvino_ir.runtime(model, "bf16", request.threads))
        return model, agreement
    return full, agreement


def require_packages(to: Kind) -> None:
    """Raise `MissingPackageError` unless everything that an export needs is installed."""
    require("openvino" if to == "openvino" else "export", "this export", *_NEEDED[to])


def _keep(made: Path, target: Path) -> tuple[Path, ...]:
    """Move the made file, and the .bin of an .xml, to the target."""
    # The .xml is moved last: where it exists, its .bin exists too.
    suffixes = (".bin", ".xml") if made.suffix == ".xml" else (made.suffix,)
    for suffix in suffixes:
        with replacing(target.with_suffix(suffix)) as temporary:
            made.with_suffix(suffix).replace(temporary)
    return tuple(target.with_suffix(suffix) for suffix in reversed(suffixes))  # the model first
