"""data_scripts/dlib_resnet.py on random weights: what it makes, fetches and refuses."""

import importlib.util
import os
import re
from pathlib import Path

import pytest
import torch
from tests.backbones import face_api_package

from cdmllab.backbones import weights
from cdmllab.backbones.dlib_resnet import PREPROCESSING
from cdmllab.data import script_job
from cdmllab.export import convert

SCRIPT = Path(__file__).parents[2] / "data_scripts/dlib_resnet.py"
TARBALL = "dlib_resnet/vladmandic-face-api-1.7.15.tgz"


@pytest.fixture
def run(data, monkeypatch):
    """The script, as if the extra for ONNX were not installed."""
    monkeypatch.setitem(convert._NEEDED, "onnx", ("onnx_that_is_nowhere",))
    spec = importlib.util.spec_from_file_location("data_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*arguments, counts=True):
        more = ["--to", str(data)] + (["--other-counts"] if counts else [])
        script_job.main(module.__file__, module.make, [*more, *arguments], fetches=True)

    return call


def npm(folder, script, monkeypatch):
    """A program of that name, the only one on the path besides the system's."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_release_contains_the_weights_of_the_package(run, data, capsys):
    meant = face_api_package.tarball(data / TARBALL)
    run()
    message = capsys.readouterr().out
    assert "117 tensors, 5,614,592 parameters" in message
    assert "no ONNX file: this export needs onnx_that_is_nowhere, which is not installed" in message
    net, release = weights.load_release(data / "dlib_resnet/dlib_resnet.safetensors")
    assert release.preprocessing == PREPROCESSING
    assert (release.name, release.options) == ("dlib_resnet", {})
    assert torch.equal(
        net.stem.conv.weight,
        torch.from_numpy(meant["conv32_down/conv/filters"]).permute(3, 2, 0, 1),
    )
    assert torch.equal(net.fc.weight, torch.from_numpy(meant["fc"]).T)
    assert sorted(p.name for p in (data / "dlib_resnet").iterdir()) == [
        "dlib_resnet.safetensors",
        Path(TARBALL).name,
    ]
    run()
    assert "creating" not in capsys.readouterr().out


def test_onnx_file_is_created_too(run, data, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from cdmllab.export.onnx_network import OnnxNetwork

    monkeypatch.undo()
    monkeypatch.setenv("CDMLLAB_DATA", str(data))
    face_api_package.tarball(data / TARBALL)
    run()
    net, message = weights.load_release(data / "dlib_resnet/dlib_resnet.safetensors")
    network = OnnxNetwork(data / "dlib_resnet/dlib_resnet.onnx")
    assert network.preprocessing["crop"] == PREPROCESSING["crop"]
    assert network.size == 150
    x = torch.rand(2, 3, 150, 150)
    mean = torch.tensor(message.preprocessing["mean"]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network((x - 0.5) / 0.5), net(x - mean), rtol=1e-3, atol=1e-4)


def test_package_is_fetched_by_npm_only_with_the_option(run, data, tmp_path, monkeypatch, capsys):
    face_api_package.tarball(tmp_path / "there.tgz")
    npm(
        tmp_path / "bin",
        f'echo "$@" > {tmp_path}/asked; cp {tmp_path}/there.tgz {Path(TARBALL).name}',
        monkeypatch,
    )
    with pytest.raises(SystemExit):
        run()
    assert "npm pack @vladmandic/face-api@1.7.15" in capsys.readouterr().err
    run("--fetch", "--dry-run")
    assert "would run npm pack @vladmandic/face-api@1.7.15" in capsys.readouterr().out
    assert not (tmp_path / "asked").exists()
    run("--fetch")
    assert (tmp_path / "asked").read_text().split() == [
        "pack", "@vladmandic/face-api@1.7.15", "--ignore-scripts", "--silent"
    ]  # fmt: skip
    assert (data / "dlib_resnet/dlib_resnet.safetensors").is_file()
    (tmp_path / "asked").unlink()
    run("--fetch")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error network' >&2; echo 'npm error E404' >&2; exit "
         "1", "could not fetch .*: npm error "
                                                                            "E404"),
        ("exit 0", "could not fetch @vladmandic/face-api@1.7.15: it left no file"),
    ],
)  # fmt: skip
def test_npm_failure_is_reported_and_leaves_nothing(
    run, data, tmp_path, monkeypatch, capsys, script, message
):
    npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(SystemExit):
        run("--fetch")
    stderr = capsys.readouterr().err
    assert re.search(message, stderr)
    assert list((data / "dlib_resnet").iterdir()) == []


def test_missing_npm_is_reported(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        run("--fetch")
    assert "--fetch needs npm, which is not installed" in capsys.readouterr().err


def test_another_package_is_refused_by_its_hash(run, data, capsys):
    face_api_package.tarball(data / TARBALL)
    with pytest.raises(SystemExit):
        run(counts=False)
    assert "bytes, expected 12,677,476" in capsys.readouterr().err


def test_members_are_checked_by_their_own_hashes(run, data, monkeypatch, capsys):
    face_api_package.tarball(data / TARBALL)
    known = script_job.Job.check
    monkeypatch.setattr(
        script_job.Job,
        "check",
        lambda job, path: None if path.suffix == ".tgz" else known(job, path),
    )
    with pytest.raises(SystemExit):
        run(counts=False)
    assert "face_recognition_model.bin has" in capsys.readouterr().err
    assert not (data / "dlib_resnet/dlib_resnet.safetensors").exists()


@pytest.mark.parametrize("inside", [face_api_package.BIN, face_api_package.MANIFEST])
def test_package_without_the_model_is_refused(run, data, capsys, inside):
    face_api_package.tarball(data / TARBALL, leave_out=[inside])
    with pytest.raises(SystemExit):
        run()
    message = capsys.readouterr().err
    assert Path(inside).name in message
    assert not (data / "dlib_resnet/dlib_resnet.safetensors").exists()
