import numpy as np
import pytest
import torch
from tests.training.test_config import PLAIN

from cdmllab import evaluate
from cdmllab.data import digits, paths
from cdmllab.data.pairs import Pairs
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate import Protocol, TemplateList
from cdmllab.heads import MarginHead
from cdmllab.runs import Run
from cdmllab.training import Config, embed, load, train


def config(**changes):
    return Config.parse({**PLAIN, **changes})


def test_training_learns_and_writes_a_run(tmp_path):
    trained = train(config(epochs=6), within=tmp_path)
    m = trained.run.metrics()
    assert trained.run.status == "finished"
    assert m["accuracy"][-1] > 0.95
    assert m["loss"][-1] < m["loss"][0]
    assert set(m) >= {"step", "epoch", "lr", "loss", "accuracy", "target_cos", "margin_rad"}


@pytest.mark.parametrize("loss", ["softmax", "normface", "arcface", "cdml"])
def test_same_seed_same_numbers(tmp_path, loss):
    a, b = (train(config(loss={"name": loss}), within=tmp_path, redo=True) for _ in range(2))
    assert a.run.folder != b.run.folder
    for x, y in zip(
        a.backbone.state_dict().values(), b.backbone.state_dict().values(), strict=True
    ):
        assert torch.equal(x, y)
    assert torch.equal(a.head.centres, b.head.centres)
    c = train(config(loss={"name": loss}, seed=1), within=tmp_path)
    assert not torch.equal(a.head.centres, c.head.centres)


def test_training_does_not_change_the_global_random_state(tmp_path):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    train(config(), within=tmp_path)
    assert torch.equal(torch.rand(3), want)


def test_finished_run_is_returned_unless_redone(tmp_path):
    first = train(config(), within=tmp_path)
    assert train(config(), within=tmp_path).run.folder == first.run.folder
    assert train(config(), within=tmp_path, redo=True).run.folder != first.run.folder


def test_load_reproduces_the_embeddings(tmp_path):
    trained = train(config(), within=tmp_path)
    images = torch.randn(5, 1, 8, 8)
    again = load(trained.run.folder)
    assert torch.equal(embed(again.backbone, images), embed(trained.backbone, images))


def test_embed_does_not_depend_on_the_batch_size(tmp_path):
    trained = train(config(), within=tmp_path)
    images = torch.randn(7, 1, 8, 8)
    torch.testing.assert_close(
        embed(trained.backbone, images), embed(trained.backbone, images, batch_size=2)
    )


def test_an_infinite_loss_stops_the_run_and_marks_it(tmp_path):
    with pytest.raises((FloatingPointError, ValueError)):
        train(config(optimiser={"lr": 1e30}), within=tmp_path)
    (run,) = Run.list(tmp_path)
    assert run.status == "failed"
    assert run.record["error"]


def test_the_seed_reaches_the_losss_own_draws_in_training_and_loading(tmp_path):
    seen = []
    trained = train(
        config(seed=4, epochs=1, loss={"name": "elasticface"}),
        within=tmp_path,
        at_epoch=lambda _, __, head: seen.append(head.policy.seed),
    )
    assert {*seen, trained.head.policy.seed} == {4}


@pytest.mark.parametrize(
    "name", ["lfw", "lfw/view1", "ijbc", "att_faces", "omniglot/strangers", "gone.bin"]
)
def test_missing_validation_sets_are_reported_before_anything_is_written(
    tmp_path, monkeypatch, name
):
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "_default_folders", lambda: ())
    with pytest.raises(CdmlLabError, match=f"watch.protocols needs {name}: "):
        train(config(watch={"validate_every": 5, "protocols": [name]}), within=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert evaluate.protocols.missing("digits/known") == evaluate.protocols.missing("lab/lfw") == ""


def test_validation_by_templates_has_an_auc_and_no_accuracy(tmp_path, monkeypatch):
    images = digits.load([7, 8, 9]).images[:240]
    identity = digits.load([7, 8, 9]).labels[:240].numpy()
    number = identity * 40 + np.arange(240) // 6
    first, second = np.triu_indices(len(np.unique(number)), 1)
    numbers = np.unique(number)
    drawn = Pairs(
        numbers[first],
        numbers[second],
        numbers[first] // 40 == numbers[second] // 40,
        np.zeros_like(first),
    )
    groups = Protocol(
        "groups", images, drawn, identity, TemplateList(number, np.zeros_like(number)), mirror=False
    )
    monkeypatch.setattr(evaluate.protocols, "missing", lambda name: "")
    monkeypatch.setattr(evaluate.protocols, "load", lambda name, size: groups)
    run = train(config(watch={"validate_every": 10, "protocols": ["lab/ijb"]}), within=tmp_path).run
    m = run.metrics()
    assert 0.5 < m["lab/ijb/auc"][-1] <= 1.0
    assert "lab/ijb/accuracy" not in m


def test_milestones_lower_the_learning_rate(tmp_path):
    trained = train(
        config(epochs=3, optimiser={"lr": 0.1, "milestones": [1, 2]}, watch={"log_every": 1}),
        within=tmp_path,
    )
    m = trained.run.metrics()
    rates = [m["lr"][m["epoch"] == e][0] for e in range(3)]
    assert rates == pytest.approx([0.1, 0.01, 0.001])


def test_cuda_without_a_device_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="no CUDA device"):
        train(config(device="cuda"), within=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_scheduled_losses(tmp_path, monkeypatch):
    seen = []
    original = MarginHead.set_progress
    monkeypatch.setattr(
        MarginHead, "set_progress", lambda head, p: (seen.append(p), original(head, p))[1]
    )
    train(config(), within=tmp_path)
    assert seen[0] == 0.0
    assert 0.4 < seen[len(seen) // 2] < 0.6
    assert seen == sorted(seen)
