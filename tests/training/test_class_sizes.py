"""A training counts the images of each identity for the losses whose margin depends on them."""

import inspect

import numpy as np
import pytest
import torch
from tests.data.making import folder
from tests.training.power_cut import power_cut

from cdmllab import margins
from cdmllab.runs import Run
from cdmllab.training import Config, load, projection, resume, train

PLAIN = {
    "name": "people",
    "data": {"name": "folder", "folder": "people"},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 16, "width": 8},
    "loss": {"name": "ldam", "scale": 16.0},
    "epochs": 2,
    "batch_size": 4,
    "watch": {"log_every": 1, "checkpoint_every": 1},
}
BY_SIZE = [
    name
    for name in margins.names()
    if "class_sizes" in inspect.signature(margins.builder(name)).parameters
]


def config(**changes):
    return Config.parse({**PLAIN, **changes})


@pytest.mark.parametrize("name", BY_SIZE)
def test_trained_loss_has_its_class_sizes(name, data, tmp_path):
    folder(data / "people", [7, 1, 4])
    trained = train(config(loss={"name": name}), within=tmp_path)
    assert trained.head.policy.class_sizes.count.tolist() == [7, 1, 4]
    again = load(trained.run)
    assert again.head.policy.class_sizes.count.tolist() == [7, 1, 4]


def test_a_cap_on_the_images_of_an_identity_counts(data, tmp_path):
    folder(data / "people", [7, 1, 4])
    capped = config(data={**PLAIN["data"], "per_identity": 3})
    head = train(capped, within=tmp_path).head
    assert head.policy.class_sizes.count.tolist() == [3, 1, 3]


@pytest.mark.parametrize("name", ["ldam", "logit_adjustment", "sphereface2", "uniface"])
def test_a_resumed_training_ends_with_the_same_loss(name, data, tmp_path, monkeypatch):
    folder(data / "people", [7, 1, 4])
    settings = config(loss={"name": name, "scale": 16.0})
    uninterrupted = train(settings, within=tmp_path / "whole")
    with power_cut(monkeypatch, 4):
        train(settings, within=tmp_path / "cut")
    (run,) = Run.list(tmp_path / "cut")
    resumed = resume(run.folder)
    want = uninterrupted.head.state_dict()
    for key, value in resumed.head.state_dict().items():
        assert torch.equal(value, want[key]), key
    if name in ("sphereface2", "uniface"):
        start = margins.create(name, num_identities=3, scale=16.0).bias
        assert resumed.head.policy.bias.item() != start.item()  # it was learnt


def test_class_sizes_in_a_config_are_refused():
    with pytest.raises(ValueError, match="class_sizes are counted from the training data, not set"):
        config(loss={"name": "ldam", "class_sizes": [1, 2, 3]})


def test_a_projection_counts_too():
    x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    labels = np.repeat(np.arange(3), [2, 4, 6])
    recipe = projection.ProjectionRecipe(epochs=1, batch_size=4)
    done = projection.project((x,), labels, {"name": "ldam", "scale": 8.0}, seed=0, recipe=recipe)
    assert np.isfinite(done.weight).all()
