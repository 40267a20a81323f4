"""A linear map of finished embeddings, trained with a loss."""

import math

import numpy as np
import pytest
import torch

from cdmllab.training.config_sections import OptimiserConfig
from cdmllab.training.projection import ProjectionRecipe, project

ARCFACE = {"name": "arcface", "scale": 16.0, "margin_rad": 0.4}


def features(people=20, each=8, d=6, seed=0):
    """Clusters in the first coordinates, and noise that is as large in the last."""
    rng = np.random.default_rng(seed)
    centre = np.repeat(rng.normal(size=(people, d // 2)), each, axis=0)
    noise = rng.normal(size=(people * each, d // 2))
    x = np.concatenate([centre + 0.1 * rng.normal(size=centre.shape), noise], axis=1)
    return x.astype(np.float32), np.repeat(np.arange(people), each)


def recipe(epochs, lr=0.1):
    return ProjectionRecipe(
        epochs=epochs, batch_size=32, optimiser=OptimiserConfig(lr=lr, schedule="cosine")
    )


def auc(e, labels):
    x = e / np.linalg.norm(e, axis=1, keepdims=True)
    one, other = np.triu_indices(len(x), 1)
    scores, same = (x @ x.T)[one, other], labels[one] == labels[other]
    return (scores[same][:, None] > scores[~same][None, :]).mean()


def test_projection_without_a_step_is_the_identity():
    x, y = features()
    done = project((x,), y, ARCFACE, seed=0, recipe=recipe(1, lr=1e-12))
    np.testing.assert_allclose(done.weight, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(
        done.transform(x), x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize(
    "loss", [{"name": "softmax"}, {"name": "normface", "scale": 16.0}, ARCFACE]
)
def test_projection_learns_the_directions_in_which_people_differ(loss):
    x, y = features()
    strangers, labels = features(seed=1)
    done = project((x,), y, loss, seed=0, recipe=recipe(20))
    assert auc(done.transform(strangers), labels) > auc(strangers, labels) + 0.05
    assert done.epochs[-1].loss < done.epochs[0].loss


def test_same_seed_gives_the_same_numbers_whatever_was_drawn_before():
    x, y = features()
    views = (x, x[:, ::-1].copy())
    once = project(views, y, ARCFACE, seed=3, recipe=recipe(2))
    torch.rand(5)
    again = project(views, y, ARCFACE, seed=3, recipe=recipe(2))
    other = project(views, y, ARCFACE, seed=4, recipe=recipe(2))
    assert np.array_equal(once.weight, again.weight)
    assert once.epochs == again.epochs or math.isnan(once.epochs[0].easy_share)
    assert not np.array_equal(once.weight, other.weight)


def test_epochs_record_the_margins():
    x, y = features()
    (fixed,) = project((x,), y, ARCFACE, seed=0, recipe=recipe(1)).epochs
    assert (fixed.margin_rad, fixed.margin_easy_rad, fixed.margin_hard_rad) == pytest.approx(
        (0.4,) * 3, abs=1e-5
    )
    assert math.isnan(fixed.easy_share)
    # Everybody is easy at a pivot below all, and takes 1.2 times the margin.
    cdml = {"name": "cdml", "scale": 16.0, "margin_rad": 0.4, "pivot": -0.999}
    (easy,) = project((x,), y, cdml, seed=0, recipe=recipe(1)).epochs
    assert easy.easy_share == 1.0
    assert easy.margin_rad == pytest.approx(0.48, abs=1e-5)


def test_images_that_do_not_fit_are_refused():
    x, y = features()
    with pytest.raises(ValueError, match="views and labels must be of the same 160 images"):
        project((x, x[1:]), y, ARCFACE, seed=0)
    with pytest.raises(ValueError, match=r"labels must be 0, 1, 2, \.\.\. without gaps"):
        project((x,), y * 2, ARCFACE, seed=0)
    with pytest.raises(ValueError, match="a batch of 256 needs more than 160 images"):
        project((x,), y, ARCFACE, seed=0)
