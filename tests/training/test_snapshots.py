import pytest
import torch

from cdmllab.data import digits
from cdmllab.training import Config, Snapshots, embed, train


@pytest.fixture(scope="module")
def held_out():
    return digits.split(digits.load(range(3)), held_out=0.25)[1]


def config(**changes):
    return Config.parse(
        {
            "name": "snapshots",
            "data": {"name": "digits", "classes": [0, 1, 2], "held_out": 0.25},
            "backbone": {"name": "small", "size": 8, "channels": 1, "width": 4, "embedding_dim": 3},
            "loss": {"name": "cdml", "scale": 16.0},
            "epochs": 3,
            **changes,
        }
    )


def test_snapshots_are_of_the_requested_epochs(tmp_path, held_out):
    seen = Snapshots(held_out.images, held_out.labels, [0, 2, 3, 99])
    trained = train(config(), within=tmp_path, at_epoch=seen)
    n = len(held_out.labels)
    assert seen.epochs == [0, 2, 3]
    assert seen.points.shape == (3, n, 3)
    assert seen.centres.shape == (3, 3, 3)
    assert seen.margin_rad.shape == (3, n)
    torch.testing.assert_close(seen.points.norm(dim=2), torch.ones(3, n))
    last = torch.nn.functional.normalize(embed(trained.backbone, held_out.images))
    torch.testing.assert_close(seen.points[-1], last)
    easy = (last * seen.centres[-1][held_out.labels]).sum(dim=1) > 0.5
    torch.testing.assert_close(seen.margin_rad[-1], torch.where(easy, 0.588, 0.392))


def test_snapshots_do_not_change_the_training(tmp_path, held_out):
    plain = train(config(), within=tmp_path / "plain").backbone.state_dict()
    seen = Snapshots(held_out.images, held_out.labels, range(4))
    watched = train(config(), within=tmp_path / "watched", at_epoch=seen).backbone.state_dict()
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_snapshots_need_class_centres(tmp_path, held_out):
    seen = Snapshots(held_out.images, held_out.labels, [0])
    with pytest.raises(
        ValueError, match="triplet compares pairs of embeddings: it has no class centres"
    ):
        train(config(loss={"name": "triplet"}), within=tmp_path, at_epoch=seen)
