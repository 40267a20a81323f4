"""Convert dlib's face network, whose accuracy on LFW is known: the pipeline's positive control.

    python data_scripts/dlib_resnet.py [--to FOLDER] [--dry-run] [--fetch]

It needs the tarball that ``npm pack @vladmandic/face-api@1.7.15`` downloads; ``--fetch`` runs that
command. It writes the network as a release, ``dlib_resnet/dlib_resnet.safetensors``, and, if
cdmllab's ``export`` extra is installed, as ``dlib_resnet/dlib_resnet.onnx``.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from cdmllab import runs
from cdmllab.backbones import dlib_resnet, weights
from cdmllab.data import archives, script_job
from cdmllab.errors import DataError, MissingPackageError
from cdmllab.export import convert

NAME = "dlib_resnet"
PACKAGE = "@vladmandic/face-api@1.7.15"
BIN, MANIFEST = (
    f"package/model/face_recognition_model{end}" for end in (".bin", "-weights_manifest.json")
)  # inside the tarball
PEOPLE = 20  # of the face lab, on whom the ONNX file is compared with PyTorch


def make(job: script_job.Job) -> None:
    """dlib's network: convert npm's tarball to a release and an ONNX file."""
    if job.fetch and job.have("package") is None:
        _download(job)
    tarball = job.need("package")
    job.check(tarball)
    release = job.make(
        f"{NAME}/{NAME}.safetensors", lambda target: _convert(job, tarball, target), _count
    )
    try:
        convert.require_packages("onnx")
    except MissingPackageError as error:
        job.report(f"no ONNX file: {error}")
        return
    job.make(f"{NAME}/{NAME}.onnx", lambda target: _export(release, target), _side)


def _download(job: script_job.Job) -> None:
    """Fetch the package with npm, without running any of its scripts."""
    target = job.out / job.data_set.places("package")[0]
    if job.dry_run:
        job.report(f"would run npm pack {PACKAGE} for {target}")
        return
    if (npm := shutil.which("npm")) is None:
        raise DataError(
            f"--fetch needs npm, which is not installed; run `npm pack {PACKAGE}` on another "
            f"machine and save the file as {target}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    job.report(f"fetching {PACKAGE} with npm")
    with TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        tarball = Path(folder) / target.name
        if done.returncode or not tarball.is_file():
            lines = done.stderr.strip().splitlines() or ["it left no file"]
            raise DataError(f"npm could not fetch {PACKAGE}: {lines[-1]}")
        tarball.replace(target)


def _convert(job: script_job.Job, tarball: Path, target: Path) -> None:
    with TemporaryDirectory(dir=target.parent, prefix=".convert-") as folder:
        for name, content in archives.members(tarball, lambda name: name in (BIN, MANIFEST)):
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            job.check(file)
        if not (Path(folder) / MANIFEST).is_file():
            raise DataError(f"{tarball} does not contain {MANIFEST}")
        net = dlib_resnet.from_face_api(Path(folder) / MANIFEST)
    commit = runs.provenance()["git_commit"]
    weights.save_release(
        net, target, name=NAME, preprocessing=dlib_resnet.PREPROCESSING, git_commit=commit
    )


def _export(release: Path, target: Path) -> None:
    convert.export(release, "onnx", output=target, identities=PEOPLE)


def _side(file: Path) -> dict[str, int]:
    from cdmllab.export.onnx_network import OnnxNetwork

    return {"pixels a side": OnnxNetwork(file).size}


def _count(release: Path) -> dict[str, int]:
    net, _ = weights.load_release(release)
    return {
        "tensors": len(net.state_dict()),
        "parameters": sum(p.numel() for p in net.parameters()),
    }


if __name__ == "__main__":
    script_job.main(__file__, make, fetches=True)
