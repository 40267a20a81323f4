"""Registration of losses, in this package and in plugins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cdmllab import heads, margins
from cdmllab.margins import registry
from cdmllab.runs import Run

PACKAGE = """
from cdmllab import margins


@margins.register("halfway", year=2026)
class Halfway(margins.MarginPolicy):
    \"\"\"Half the cosine.\"\"\"

    def __init__(self, *, share: float = 0.5, gradient="exact"):
        super().__init__(gradient=gradient)
        self.share = share

    def target(self, target_cos, batch):
        return self.share * target_cos

    def describe(self):
        return f"{self.share:g} cos θ"
"""
CONFIG = {
    "name": "digits",
    "data": {"name": "digits"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "loss": {"name": "halfway", "scale": 16.0, "share": 0.9},
    "epochs": 1,
    "batch_size": 64,
}


@pytest.fixture
def losses(monkeypatch):
    """The registry, as it was afterwards."""
    monkeypatch.setattr(registry, "_LOSSES", dict(registry._LOSSES))


@pytest.fixture
def installed(tmp_path) -> Path:
    """A folder with a plugin package that provides a loss, as installed by pip."""
    folder = tmp_path / "site"
    (folder / "halves-1.0.dist-info").mkdir(parents=True)
    (folder / "halves.py").write_text(PACKAGE)
    (folder / "halves-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: halves\nVersion: 1.0\n"
    )
    (folder / "halves-1.0.dist-info/entry_points.txt").write_text(
        "[cdmllab.margins]\nhalves = halves\n"
    )
    return folder


def test_names_are_by_year():
    names = list(margins.names())
    assert names[0] == "softmax"
    assert (
        names.index("normface")
        < names.index("arcface")
        < names.index("magface")
        < names.index("cdml")
    )


def test_registered_loss_is_a_loss_like_the_others(losses):
    @margins.register("halfway", year=2019)
    class Halfway(margins.MarginPolicy):
        def target(self, target_cos, batch):
            return target_cos / 2

    assert "halfway" in margins.names()
    head = heads.create("halfway", embedding_dim=4, num_identities=3)
    assert isinstance(head.policy, Halfway)
    assert head.name == "halfway"


def test_taken_name_is_rejected(losses):
    with pytest.raises(
        ValueError, match=r"the loss 'arcface' is cdmllab.margins.arcface.ArcFace already"
    ):
        margins.register("arcface", year=2026)(type("Other", (margins.MarginPolicy,), {}))
    with pytest.raises(
        ValueError,
        match=r"the loss 'arcface_torch' is cdmllab.margins.recipes.arcface_torch already",
    ):
        margins.register("arcface_torch", year=2026)(type("Other", (margins.MarginPolicy,), {}))
    with pytest.raises(ValueError, match="not 'x2-softmax'"):
        margins.register("x2-softmax", year=2026)


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
def test_head_accepts_an_instance_of_a_loss(backend):
    size = {"embedding_dim": 8, "num_identities": 5, "scale": 16.0, "backend": backend}
    mine, named = (
        heads.create(margins.ArcFace(margin_rad=0.3), **size),
        heads.create("arcface", margin_rad=0.3, **size),
    )
    named.load_state_dict(mine.state_dict())
    embeddings, labels = torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 0])
    assert torch.equal(mine(embeddings, labels).loss, named(embeddings, labels).loss)
    assert mine.name == "arcface"


def test_loss_without_a_name_is_named_after_its_class():
    class Mine(margins.MarginPolicy):
        pass

    assert heads.create(Mine(), embedding_dim=4, num_identities=3).name == "Mine"
    with pytest.raises(ValueError, match="already an instance of Mine: pass margin_rad to"):
        heads.create(Mine(), embedding_dim=4, num_identities=3, margin_rad=0.5)


def test_command_line_trains_with_a_loss_of_another_package(tmp_path, installed):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(CONFIG))
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "CDMLLAB_RUNS": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "cdmllab", "train", str(tmp_path / "own.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = Run.list(tmp_path / "runs")
    assert run.status == "finished"
    assert run.config["loss"] == {"name": "halfway", "scale": 16.0, "share": 0.9}


def test_package_that_cannot_be_imported_is_named(installed):
    (installed / "halves.py").write_text("import nothing_of_this_name\n")
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from cdmllab import margins; margins.names()"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert (
        "the losses of halves (halves) cannot be imported: No module named 'nothing_of_this_name'"
        in last
    )
