"""The built wheel outside the checkout, with the dependencies of `pip install cdmllab` only."""

import json
import os
import subprocess
import sys
import tomllib
import venv
from email import message_from_string
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cdmllab

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TINY = {
    "name": "tiny",
    "data": {
        "name": "lab",
        "num_identities": 6,
        "images_per_identity": 4,
        "size": 32,
        "augmentation": "flip",
    },
    "backbone": {"name": "small", "embedding_dim": 8, "size": 32},
    "loss": {"name": "cdml"},
    "epochs": 1,
    "batch_size": 8,
}
# Every module is imported, or reports the extra that it needs.
EVERY_MODULE = """
import importlib, json, pkgutil, sys, cdmllab
from cdmllab.errors import MissingPackageError

for room in cdmllab.__all__:
    getattr(cdmllab, room)
missing = {}
for module in pkgutil.walk_packages(cdmllab.__path__, "cdmllab.", onerror=lambda name: None):
    if module.name != "cdmllab.__main__":
        try:
            importlib.import_module(module.name)
        except MissingPackageError as error:
            missing[module.name] = str(error)
print(json.dumps([cdmllab.__file__, missing]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            str(folder),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """The `bin` folder of an environment with the wheel and its plain dependencies."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for path in needed(PROJECT["dependencies"]):
        (site / path.name).symlink_to(path)
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [uv, "pip", "install", "--offline", "--no-deps", "--python", folder / "bin/python", wheel],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def needed(requirements):
    """Link the packages of this environment that some requirements need, without copying them."""
    waiting, seen, names = [Requirement(line) for line in requirements], set(), set()
    while waiting:
        current = waiting.pop()
        name = canonicalize_name(current.name)
        if current.marker and not current.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *current.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            distribution = metadata.distribution(name)
            names |= {
                Path(distribution.locate_file(file.parts[0]))
                for file in distribution.files
                if file.parts[0] not in ("..", "__pycache__")
            }
            for line in distribution.requires or []:
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    waiting.append(Requirement(line.partition(";")[0]))
    return names


def run(command, folder, expect=0):
    """A command in a folder unrelated to the checkout."""
    environment = {"HOME": str(folder), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_wheel_contains_every_file_of_the_package(wheel):
    ours = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/cdmllab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == ours
    assert {
        "cdmllab/py.typed",
        "cdmllab/book/widgets/_kit.js",
        "cdmllab/training/presets/lab/cpu/cdml.yaml",
    } < packed


def test_wheel_has_the_metadata_of_the_project(wheel):
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = message_from_string(archive.read(name).decode())
        assert (
            archive.read(name.replace("METADATA", "licenses/LICENSE"))
            == (ROOT / "LICENSE").read_bytes()
        )
    assert fields["Version"] == cdmllab.__version__
    assert fields["License-Expression"] == PROJECT["license"] == "MIT"
    assert set(fields.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    plain = {Requirement(line).name for line in fields.get_all("Requires-Dist") if ";" not in line}
    assert plain == {Requirement(line).name for line in PROJECT["dependencies"]}


def test_core_imports_every_module_or_names_its_extra(core, tmp_path):
    file, missing = json.loads(run([core / "python", "-c", EVERY_MODULE], tmp_path).stdout)
    assert Path(file).is_relative_to(core.parent)
    for module, extra in {
        "cdmllab.plots": "plots",
        "cdmllab.evaluate.figures": "plots",
        "cdmllab.analysis.projection": "analysis",
        "cdmllab.heads.pair_losses": "pairs",
        "cdmllab.pml": "pairs",
        "cdmllab.backbones.timm_models": "timm",
        "cdmllab.export.onnx_file": "export",
        "cdmllab.export.openvino_ir": "openvino",
        "cdmllab.book.widgets": "book",
    }.items():
        assert missing[module].endswith(
            f'which is not installed: pip install "cdmllab[{extra}]"'
        ), missing[module]
    rooms = {".".join(module.split(".")[:3]) for module in missing}
    public = {f"cdmllab.{room}" for room in ("margins", "data", "metrics", "training", "faces")}
    assert not {room for room in rooms if room.rpartition(".")[0] in public}


def test_core_trains_and_evaluates(core, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    images = np.random.default_rng(0).integers(256, size=(12, 32, 32, 3), dtype=np.uint8)
    first = np.arange(6)
    np.savez(
        tmp_path / "pairs.npz",
        images=images,
        first=first,
        second=first + 6,
        same=first % 2 == 0,
        fold=first % 3,
    )
    command = core / "cdmllab"
    assert run([command, "--version"], tmp_path).stdout == f"{cdmllab.__version__}\n"
    run([command, "train", "tiny.yaml"], tmp_path)
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("*/config.yaml"))
    judged = run([command, "evaluate", folder, "--protocol", "pairs.npz"], tmp_path)
    assert "AUC" in judged.stdout
    (written,) = (folder / "eval").glob("*.json")
    assert json.loads(written.read_text())["genuine_pairs"] == 3

    drawn = run(
        [command, "evaluate", folder, "--protocol", "pairs.npz", "--figures"], tmp_path, expect=1
    )
    assert drawn.stderr.strip() == (
        'cdmllab: a figure needs matplotlib, which is not installed: pip install "cdmllab[plots]"'
    )
