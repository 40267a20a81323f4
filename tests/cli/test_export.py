import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from cdmllab import backbones, preprocessing, training
from cdmllab.backbones import checkpoints, weights
from cdmllab.cli import app

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CONFIG = {
    "name": "digits",
    "data": {"name": "digits"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0},
    "epochs": 1,
}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    return training.train(
        training.Config.parse(CONFIG), within=tmp_path_factory.mktemp("runs")
    ).run.folder


def test_export_of_a_run_is_reported_and_written_to_its_folder(trained):
    result = run("export", trained, "--identities", 8)
    assert result.exit_code == 0, result.output
    assert "small: data [batch, 1, 8, 8] -> embedding [batch, 8], ONNX opset 18" in result.stdout
    assert "float32" in result.stdout
    assert "this one is 1 x 8 x 8" in result.stdout
    assert sorted(file.name for file in (trained / "export").iterdir()) == [
        "backbone.onnx",
        "backbone.onnx.json",
    ]
    record = json.loads((trained / "export/backbone.onnx.json").read_text())
    assert record["options"] == {"embedding_dim": 8, "size": 8, "channels": 1, "width": 8}


def test_run_to_release_to_checkpoint_and_back(trained, tmp_path):
    release, checkpoint, again = (tmp_path / name for name in ("a.safetensors", "b.pth", "c.pt"))
    assert run("weights", "convert", trained, release).exit_code == 0
    assert run("weights", "convert", release, checkpoint).exit_code == 0
    assert run("weights", "convert", trained, again).exit_code == 0
    net, metadata = weights.load_release(release)
    assert metadata.config["loss"]["name"] == "arcface"
    assert metadata.preprocessing == {"channels": "grey", "mean": [0.5], "std": [0.5], "size": 8}
    for path in (checkpoint, again):
        state = checkpoints.read(path)
        assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    printed = yaml.safe_load(run("weights", "show", release).stdout)
    assert printed["name"] == "small"
    assert printed["options"]["size"] == 8


def test_checkpoint_to_release_recognises_the_network(tmp_path):
    net = backbones.create("lightweight")
    state = {f"module.{key}": value.half() for key, value in net.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    result = run(
        "weights",
        "convert",
        tmp_path / "a.pth",
        tmp_path / "a.safetensors",
        "--channels",
        "BGR",
        "--half",
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("lightweight -> ")
    metadata = weights.release(tmp_path / "a.safetensors")
    assert (metadata.name, metadata.preprocessing["channels"]) == ("lightweight", "BGR")
    assert (tmp_path / "a.safetensors").stat().st_size < 0.55 * 4 * sum(
        p.numel() for p in net.parameters()
    )


def test_releases_of_other_libraries_checkpoints_record_their_preprocessing(tmp_path):
    """As the trainers of MagFace and AdaFace write them; no tensor has eps or channel order."""
    r18, ir_18 = backbones.create("r18"), backbones.create("ir_18")
    magface = {
        "state_dict": {f"features.module.{key}": value for key, value in r18.state_dict().items()}
    }
    adaface = {f"model.{key}": value for key, value in ir_18.state_dict().items()}
    torch.save(magface, tmp_path / "magface.pth.tar")
    torch.save(
        {"state_dict": {**adaface, "head.kernel": torch.zeros(2)}}, tmp_path / "adaface.ckpt"
    )
    torch.save(ir_18.state_dict(), tmp_path / "bare.pth")

    result = run("weights", "convert", tmp_path / "magface.pth.tar", tmp_path / "a.safetensors")
    assert result.exit_code == 0, result.output
    assert "input BGR, (x / 255 - 0) / 1" in result.stdout
    net, metadata = weights.load_release(tmp_path / "a.safetensors")
    assert (metadata.name, metadata.options, metadata.preprocessing) == (
        "r18",
        {"norm_eps": 2e-5},
        preprocessing.MAGFACE,
    )
    assert net.bn1.eps == 2e-5

    result = run("weights", "convert", tmp_path / "adaface.ckpt", tmp_path / "b.safetensors")
    assert result.exit_code == 0, result.output
    metadata = weights.release(tmp_path / "b.safetensors")
    assert (metadata.name, metadata.options, metadata.preprocessing) == (
        "ir_18",
        {},
        preprocessing.ADAFACE,
    )

    result = run("weights", "convert", tmp_path / "bare.pth", tmp_path / "c.safetensors")
    assert result.exit_code == 1
    assert "bare.pth is an IR-net of an unknown library: AdaFace trains on BGR" in result.stderr
    result = run(
        "weights", "convert", tmp_path / "bare.pth", tmp_path / "c.safetensors", "--channels", "BGR"
    )
    assert result.exit_code == 0, result.output
    assert weights.release(tmp_path / "c.safetensors").preprocessing == preprocessing.ADAFACE


def test_safetensors_file_of_another_library_is_a_checkpoint(tmp_path):
    """CVLface's on Hugging Face."""
    state = {
        f"model.net.{key}": value for key, value in backbones.create("ir_18").state_dict().items()
    }
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    result = run("weights", "convert", tmp_path / "model.safetensors", tmp_path / "a.safetensors")
    assert result.exit_code == 0, result.output
    metadata = weights.release(tmp_path / "a.safetensors")
    assert (metadata.name, metadata.preprocessing) == ("ir_18", preprocessing.CVLFACE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere"], "nowhere does not exist"),
        (["export", "a.pth"], "a.pth is not a release"),
        (["export", "folder"], "folder is not a run: it has no config.yaml"),
        (
            ["weights", "convert", "a.pth", "b.onnx"],
            "weights are written as .safetensors, .pth or .pt",
        ),
        (["weights", "convert", "a.pth", "b.pth", "--half"], "--half is for releases"),
        (
            ["weights", "convert", "a.pth", "b.safetensors"],
            "a.pth has an unknown layout: its first keys are weight",
        ),
        (["weights", "convert", "part.pth", "b.safetensors"], "part.pth fits none of r18, r34"),
        (
            ["weights", "convert", "part.pth", "b.safetensors", "--name", "r17"],
            "unknown backbone 'r17'",
        ),
        (
            ["weights", "convert", "part.pth", "b.safetensors", "--name", "r18"],
            "not contain the weights of r18: missing",
        ),
        (
            ["weights", "convert", "a.safetensors", "b.pth", "--mean", "0"],
            "a.safetensors records this itself: --mean",
        ),
        (
            ["weights", "convert", "folder", "b.safetensors", "--name", "r50"],
            "folder records this itself: --name",
        ),
        (
            ["weights", "convert", "folder", "b.safetensors", "--channels", "RGB"],
            "--channels is only for checkpoints",
        ),
        (["weights", "convert", "none.pth", "b.safetensors"], "there is no file none.pth"),
        (["weights", "show", "a.pth"], "a.pth is not a release"),
    ],
)
def test_mistake_is_reported_in_one_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    torch.save({"weight": torch.zeros(2)}, "a.pth")
    torch.save({"conv1.weight": torch.zeros(2), "layer1.0.bn1.weight": torch.zeros(2)}, "part.pth")
    before = sorted(tmp_path.iterdir())
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("cdmllab: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_unfinished_run_is_not_exported(trained, tmp_path):
    for name in ("config.yaml", "run.json"):
        text = (trained / name).read_text().replace('"finished"', '"failed"')
        (tmp_path / name).write_text(text)
    result = run("export", tmp_path)
    assert result.exit_code == 1
    assert "is a run that is failed, not finished" in result.stderr
