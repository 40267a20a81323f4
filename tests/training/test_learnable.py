"""A training that cannot learn is refused before its first step."""

import shutil

import numpy as np
import pytest
from tests.data.making import folder

from cdmllab.errors import CdmlLabError
from cdmllab.training import Config, learnable, train

PLAIN = {
    "name": "people",
    "data": {"name": "folder", "folder": "people"},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 16, "width": 8},
    "loss": {"name": "triplet"},
    "epochs": 1,
    "batch_size": 4,
}


def config(**changes):
    return Config.parse({**PLAIN, **changes})


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "circle"])
def test_pair_loss_is_refused_if_everyone_has_one_image(data, tmp_path, loss):
    folder(data / "people", [1] * 12)
    with pytest.raises(
        CdmlLabError, match=f"{loss} compares two images of one identity, but no identity has two"
    ):
        train(config(loss={"name": loss}), within=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    shutil.copy(data / "people/p0/0.jpg", data / "people/p0/1.jpg")
    train(config(loss={"name": loss}), within=tmp_path / "runs")


def test_a_cap_of_one_image_leaves_no_pairs(data, tmp_path):
    folder(data / "people", [3] * 6)
    capped = {**PLAIN["data"], "per_identity": 1}
    with pytest.raises(CdmlLabError, match=r"no identity has two with data\.per_identity=1"):
        train(config(data=capped), within=tmp_path)


@pytest.mark.parametrize("loss", ["softmax", "arcface", "triplet"])
def test_single_identity_is_refused(data, tmp_path, loss):
    folder(data / "people", [8])
    with pytest.raises(CdmlLabError, match="all images are of one identity"):
        train(config(loss={"name": loss}), within=tmp_path)


def test_losses_with_class_centres_need_no_pairs(data, tmp_path):
    folder(data / "people", [1] * 12)
    assert train(config(loss={"name": "arcface"}), within=tmp_path).run.status == "finished"


def test_the_expected_pairs_of_a_batch_are_those_that_random_batches_have():
    """Of 50 identities with two images each, two images drawn are of one identity 1 time in 99."""
    labels = np.repeat(np.arange(50), 2)
    doubt = learnable.check(labels, batch_size=10, per_identity=None, pair_loss="triplet")
    assert "a batch of 10 images has 0.45 pairs of one identity on average" in doubt  # 45 / 99
    rng = np.random.default_rng(0)
    drawn = [10 - len(np.unique(labels[rng.permutation(100)[:10]])) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(45 / 99, abs=0.04)  # four standard errors
    assert learnable.check(labels, batch_size=16, per_identity=None, pair_loss="triplet") == ""
    assert learnable.check(labels, batch_size=10, per_identity=None, pair_loss=None) == ""


def test_few_pairs_are_a_warning_and_not_an_error(data, tmp_path):
    folder(data / "people", [2] * 12)
    messages = []
    assert (
        train(config(batch_size=2), within=tmp_path, report=messages.append).run.status
        == "finished"
    )
    assert any(
        "a batch of 2 images has 0.043 pairs of one identity on average" in line
        for line in messages
    )
