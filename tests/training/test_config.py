import pytest

from cdmllab.training import Config

PLAIN = {
    "name": "try",
    "data": {"name": "digits", "classes": [0, 1]},
    "backbone": {"name": "small", "embedding_dim": 3, "size": 8, "channels": 1, "width": 8},
    "loss": {"name": "cdml", "scale": 16.0, "favour": "hard"},
    "epochs": 2,
}


def test_parse_and_flat_are_inverse():
    config = Config.parse(PLAIN)
    assert Config.parse(config.flat()) == config
    assert config.flat()["optimiser"]["momentum"] == 0.9
    assert config.loss.options == {"favour": "hard"}


def test_changed_checks_and_leaves_the_original():
    config = Config.parse(PLAIN)
    assert config.changed(seed=4, loss={"name": "softmax"}).loss.name == "softmax"
    assert config.seed == 0
    with pytest.raises(ValueError, match="epochs"):
        config.changed(epochs=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "epoch"),
        ({"optimiser": {"learning_rate": 0.1}}, "learning_rate"),
        ({"loss": {"name": "arcface", "margin": 0.5}}, "did you mean 'margin_rad'"),
        ({"loss": {"name": "arcfase"}}, "did you mean 'arcface'"),
        ({"data": {"name": "casia"}}, "unknown data 'casia'"),
        ({"data": {"name": "digits", "size": 8}}, "has no option 'size'"),
        ({"backbone": {"name": "r18x", "embedding_dim": 2}}, "unknown backbone 'r18x'"),
        ({"batch_size": 1}, "batch_size"),
        ({"epochs": "2"}, "epochs"),
        ({"epochs": 10**30}, "epochs"),
        ({"device": "tpu"}, "device"),
        (
            {"watch": {"validate_every": 5, "protocols": ["lfww"]}},
            "no protocol 'lfww' .did you mean 'lfw",
        ),
        ({"loss": {"name": "triplet", "backend": "sharded"}}, "it has no backend"),
    ],
)
def test_invalid_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Config.parse({**PLAIN, **change})


@pytest.mark.parametrize(
    ("loss", "key"),
    [({"name": "elasticface"}, "seed"), ({"name": "arcface", "backend": "sharded"}, "sample_seed")],
)
def test_the_seed_is_that_of_every_draw_unless_the_loss_has_its_own(loss, key):
    def built(**options):
        head = Config.parse({**PLAIN, "loss": {**loss, **options}}).loss.build(
            embedding_dim=2, num_identities=2, seed=3
        )
        return getattr(head.policy if key == "seed" else head, key)

    assert built() == 3
    assert built(**{key: 5}) == 5


def test_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config.parse(PLAIN).seed = 3
