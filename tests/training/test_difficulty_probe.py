"""A run on the face lab logs how its easiness scores follow the true difficulty."""

import numpy as np
import pytest
import torch

from cdmllab.errors import CdmlLabError, DataError
from cdmllab.faces import FaceWorld
from cdmllab.heads import create
from cdmllab.training import Config, datasets, prepare, train
from cdmllab.training.difficulty_probe import Truth

LAB = {
    "name": "lab",
    "data": {
        "name": "lab",
        "num_identities": 12,
        "images_per_identity": 12,
        "size": 32,
        "label_noise": 0.1,
    },
    "backbone": {"name": "small", "embedding_dim": 16, "size": 32, "width": 8},
    "loss": {"name": "cdml", "scale": 16.0},
    "epochs": 3,
    "batch_size": 24,
    "watch": {"log_every": 6, "truth_every": 6},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@pytest.fixture
def lab(folder, monkeypatch):
    monkeypatch.setenv("CDMLLAB_DATA", str(folder))
    return Config.parse(LAB)


def test_run_logs_how_its_scores_follow_the_truth(lab, folder):
    m = train(lab, within=folder).run.metrics()
    looked = np.isfinite(m["truth/similarity"])
    assert list(m["step"][looked]) == [1, 6, 12, 18]
    for score in ("similarity", "gap", "angle_gap"):
        assert np.all(np.abs(m[f"truth/{score}"][looked]) <= 1)
        assert np.all(
            (m[f"truth/{score}_auc"][looked] >= 0) & (m[f"truth/{score}_auc"][looked] <= 1)
        )
    for group in ("easy", "middling", "hard", "mislabelled"):
        margins = m[f"truth/margin_rad_{group}"][looked]
        assert np.all((margins > 0.49 * 0.79) & (margins < 0.49 * 1.21))


def test_probing_does_not_change_the_training(lab, folder, tmp_path):
    plain = train(Config.parse({**LAB, "watch": {"log_every": 6}}), within=tmp_path)
    watched = train(lab, within=folder)
    for a, b in zip(
        plain.backbone.state_dict().values(), watched.backbone.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_perfect_head_gets_full_marks(lab):
    """Embeddings that are farther from their centre the harder the image is."""
    source = datasets.load("lab", lab.data.options)
    truth = Truth(source, lambda x: x)
    head = create("arcface", embedding_dim=16, num_identities=12, scale=16.0).eval()
    rng = torch.Generator().manual_seed(0)
    difficulty = torch.from_numpy(truth.difficulty).float()

    class Placed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            centres = torch.nn.functional.normalize(head.centres)
            true = torch.from_numpy(source.true_labels[truth.rows])
            away = torch.nn.functional.normalize(torch.randn(len(true), 16, generator=rng), dim=1)
            return centres[true] + 2e-3 * difficulty.argsort().argsort()[:, None] * away

    metrics = truth.look(Placed(), head)
    assert metrics["truth/similarity"] > 0.9
    assert metrics["truth/similarity_auc"] > 0.9
    assert (
        metrics["truth/angle_deg_easy"]
        < metrics["truth/angle_deg_middling"]
        < metrics["truth/angle_deg_hard"]
    )
    assert metrics["truth/angle_deg_hard"] < metrics["truth/angle_deg_mislabelled"]
    assert metrics["truth/margin_rad_easy"] == pytest.approx(0.5, abs=1e-4)


def test_only_the_lab_has_known_difficulty(tmp_path):
    with pytest.raises(DataError, match="truth_every needs a world of the face lab"):
        Truth(FaceWorld(2, 2, size=32), prepare)  # not rendered yet
    digits = {**LAB, "data": {"name": "digits"}}
    digits["backbone"] = {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8}
    with pytest.raises(DataError, match=r"the difficulty of .* is unknown"):
        train(Config.parse(digits), within=tmp_path)


def test_pair_loss_has_no_centres_to_probe(lab, tmp_path):
    with pytest.raises(CdmlLabError, match="without a pair loss"):
        train(Config.parse({**LAB, "loss": {"name": "triplet"}}), within=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
