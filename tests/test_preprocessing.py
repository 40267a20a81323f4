import pytest
import torch

from cdmllab import preprocessing
from cdmllab.preprocessing import INSIGHTFACE


def image(*colour):
    return torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)


def test_insightface_takes_rgb_to_minus_one_to_one():
    out = preprocessing.apply(image(0, 255, 51), INSIGHTFACE | {"size": 4})
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))


def test_bgr_reverses_the_channels_before_the_mean_is_subtracted():
    given = {"channels": "BGR", "mean": [0.0, 0.1, 0.2], "std": 0.5, "size": 4}
    out = preprocessing.apply(image(255, 0, 51), given)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([0.4, -0.2, 1.6]))


def test_grey_weighs_the_colours():
    out = preprocessing.apply(image(255, 0, 0), preprocessing.standard(1, 4))
    assert out.shape == (1, 1, 4, 4)
    assert out[0, 0, 0, 0].item() == pytest.approx(2 * 0.299 - 1)
    white = preprocessing.apply(image(255, 255, 255), preprocessing.standard(1, 4))
    assert white.max().item() == pytest.approx(1.0)


def test_apply_does_not_change_the_images():
    x = image(1, 2, 3).clone()
    preprocessing.apply(x, INSIGHTFACE | {"size": 4})
    assert torch.equal(x, image(1, 2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": "RGBA"}, "one of RGB, BGR, grey, got 'RGBA'"),
        ({"mean": [0.5, 0.5]}, "mean must be one number or 3"),
        ({"std": 0.0}, "std must be positive"),
        ({"std": "x"}, "std must be one number or 3"),
        ({"size": 1.5}, "size must be a number of pixels"),
        (
            {"gamma": 1},
            "needs the keys channels, mean, std, size and may have crop, got .*size, gamma",
        ),
    ],
)
def test_invalid_preprocessing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        preprocessing.check(INSIGHTFACE | change)


def test_colour_network_sees_grey_images_three_times():
    grey = torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)
    out = preprocessing.apply(grey, INSIGHTFACE | {"size": 4})
    torch.testing.assert_close(out, torch.full((1, 3, 4, 4), -0.6))


def test_public_checkpoints_preprocessings_are_their_formulas():
    x = torch.randint(256, (2, 3, 112, 112), dtype=torch.uint8)
    usual = (x.double() / 255 - 0.5).div(0.5).float()
    torch.testing.assert_close(preprocessing.apply(x, INSIGHTFACE), usual, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        preprocessing.apply(x, preprocessing.ADAFACE), usual.flip(1), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        preprocessing.apply(x, preprocessing.MAGFACE), x.flip(1) / 255, atol=1e-6, rtol=0
    )


def test_different_preprocessing_is_named_by_its_differences():
    preprocessing.require(INSIGHTFACE, {**INSIGHTFACE, "mean": 0.5}, "the config")
    with pytest.raises(
        ValueError, match=r"the config has another preprocessing .*: channels BGR instead of RGB"
    ):
        preprocessing.require(INSIGHTFACE, preprocessing.ADAFACE, "the config")


def test_images_of_another_type_or_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"uint8 of shape \(b, 1 or 3, 112, 112\), got torch.float32"
    ):
        preprocessing.apply(torch.zeros(1, 3, 112, 112), INSIGHTFACE)
