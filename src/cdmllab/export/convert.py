"""From a trained backbone to a checked file for another runtime."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cdmllab.backbones import preprocessing
from cdmllab.backbones.preprocessing import standard
from cdmllab.errors import CdmlLabError
from cdmllab.export import pictures, source
from cdmllab.export.agreement import Agreement, Embed, Floats, compare
from cdmllab.files import replacing, write_text
from cdmllab.runs import provenance

Kind = Literal["onnx", "openvino"]
_NEEDED = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "openvino": ("onnx", "onnxruntime", "onnxscript", "openvino")}
_CALIBRATION_PICTURES = 64
_NOISE_PICTURES = 16
_BATCH = 32
# A float32 file may differ in the rounding of sums; a quantised one is judged by what it does to accuracy.
_EXACT = {"cosine_min": 0.9999, "cosine_mean": 0.9999}
_ROUGH = {"cosine_min": 0.0, "cosine_mean": 0.95}


class Exported(NamedTuple):
    """The files written, and how each way of running them compares with PyTorch."""

    files: tuple[Path, ...]  # the model first
    source: source.Source
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
    """Write a backbone for another runtime, if it computes the same there; else raise and leave nothing.

    Parameters
    ----------
    path : a run's folder or a release
    to : ``"onnx"``, one file; ``"openvino"``, an .xml and a .bin
    output : the model's file; None puts it beside the release, or into the run's folder ``export``
    int8 : quantise, calibrated on face-lab pictures; with ``to="onnx"``
    identities : people in the face-lab protocol that accuracies are measured on
    max_drop_points : verification accuracy that may be lost, in percentage points
    seed : of the pictures and pairs
    threads : of the runtimes that are compared; torch keeps its own setting
    tell : is called with a line before each slow step

    Raises
    ------
    CdmlLabError : something that is needed is not installed, the source cannot be read, or the file does not agree
    """
    _require(to)
    if int8 and to != "onnx":
        raise CdmlLabError("int8 goes with ONNX: --to onnx --int8")
    suffix = ".xml" if to == "openvino" else ".onnx"
    given = source.read(path)
    target = output or _beside(path, f"{'-int8' if int8 else ''}{suffix}")
    if target.suffix != suffix:
        raise CdmlLabError(f"{target}: a file for {to} ends in {suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)

    tell("drawing face-lab pictures")
    check = _Check(given, identities, seed)
    with TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
        from cdmllab.export import onnx_file

        tell(f"writing ONNX, opset {onnx_file.OPSET}")
        made = Path(folder) / "full.onnx"
        onnx_file.write(given, made)
        found = {"float32": check(onnx_file.runtime(made, threads))}
        found["float32"].require(**_EXACT, drop_points=max_drop_points)
        if int8:
            from cdmllab.export import int8 as quantised

            tell("quantising")
            full, made = made, Path(folder) / "int8.onnx"
            quantised.write(full, made, check.calibration())
            found["int8"] = check(onnx_file.runtime(made, threads))
            found["int8"].require(**_ROUGH, drop_points=max_drop_points)
        if to == "openvino":
            from cdmllab.export import openvino_ir

            tell("writing OpenVINO's files")
            full, made = made, Path(folder) / "model.xml"
            openvino_ir.write(full, made)
            found["float32"] = check(openvino_ir.runtime(made, threads=threads))
            found["float32"].require(**_EXACT, drop_points=max_drop_points)
            found["bfloat16"] = check(openvino_ir.runtime(made, "bf16", threads))
        files = _keep(made, target)
    report = target.with_name(f"{target.name}.json")
    record = {
        "backbone": given.name,
        "options": given.options,
        "input": standard(given.net.channels, given.net.size),
        "trained_at": given.git_commit,
        "protocol": {"identities": identities, "pairs": len(check.protocol.pairs.same), "seed": seed},
        "agreement": {name: one.plain() for name, one in found.items()},
        **provenance(),
    }
    write_text(report, json.dumps(record, indent=1) + "\n")
    return Exported((*files, report), given, found)


class _Check:
    """Compares a runtime with PyTorch on the same pictures."""

    def __init__(self, given: source.Source, identities: int, seed: int) -> None:
        size = given.net.size
        self._usual = standard(given.net.channels, size)
        self._seed = seed
        try:
            self.protocol = pictures.protocol(identities, size, seed)
        except ValueError as error:
            raise CdmlLabError(str(error)) from error
        self._pictures = (self.protocol.pictures, pictures.noise(_NOISE_PICTURES, size, seed))
        self._before = self._each(self._own(given))

    def __call__(self, embed: Embed) -> Agreement:
        return compare(self._before, self._each(lambda part: embed(self._plain(part))), self.protocol.pairs)

    def calibration(self) -> Floats:
        """Pictures of other people, as the file wants them."""
        return self._plain(pictures.calibration(_CALIBRATION_PICTURES, self._usual["size"], self._seed))

    def _each(self, embed: Callable[[Tensor], Floats]) -> tuple[Floats, Floats]:
        faces, noise = (np.concatenate([embed(p) for p in some.split(_BATCH)]) for some in self._pictures)
        return faces, noise

    def _plain(self, part: Tensor) -> Floats:
        return preprocessing.apply(part, self._usual).numpy()

    @staticmethod
    def _own(given: source.Source) -> Callable[[Tensor], Floats]:
        """The network itself, fed as it was trained."""

        @torch.no_grad()
        def embed(part: Tensor) -> Floats:
            out: Floats = given.net(preprocessing.apply(part, given.preprocessing)).numpy()
            return out

        return embed


def _require(to: Kind) -> None:
    for module in _NEEDED[to]:
        if find_spec(module) is None:
            extras = "export,openvino" if to == "openvino" else "export"
            raise CdmlLabError(f"this export needs {module}: pip install 'cdmllab[{extras}]' brings it")


def _beside(path: Path, ending: str) -> Path:
    if path.is_dir():
        return path / f"export/backbone{ending}"
    return path.with_name(f"{path.stem}{ending}")


def _keep(made: Path, target: Path) -> tuple[Path, ...]:
    """Rename what was made, and the .bin beside an .xml, over the target."""
    suffixes = (".bin", ".xml") if made.suffix == ".xml" else (made.suffix,)
    for suffix in suffixes:
        with replacing(target.with_suffix(suffix)) as temporary:
            made.with_suffix(suffix).replace(temporary)
    return tuple(target.with_suffix(suffix) for suffix in reversed(suffixes))
