import numpy as np
import pytest
import torch
from tests.data.making import pixels

from cdmllab.data.transforms import (
    AUGMENTATIONS,
    Augmentation,
    AugmentationDraw,
    apply_batch,
    apply_each,
    draw,
    named,
)


def batch(size=(24, 20), channels=3, count=16):
    return (
        torch.from_numpy(np.stack([pixels(k, size, channels) for k in range(count)]))
        .permute(0, 3, 1, 2)
        .clone()
    )


def drawn(count=1, **changes):
    same = {
        "flip": torch.zeros(count, dtype=torch.bool),
        "shift_px": torch.zeros(count, 2, dtype=torch.int64),
        "rotation_deg": torch.zeros(count),
        **{key: torch.ones(count) for key in ("brightness", "contrast", "saturation")},
    }
    return AugmentationDraw(
        **{**same, **{key: torch.tensor(value) for key, value in changes.items()}}
    )


BOTH = pytest.mark.parametrize("apply", [apply_each, apply_batch])


@BOTH
@pytest.mark.parametrize("channels", [1, 3])
def test_neutral_draw_changes_nothing(apply, channels):
    x = batch(channels=channels)
    assert torch.equal(apply(x, drawn(16)), x)


@BOTH
def test_flip_mirrors(apply):
    x = batch(count=1)
    assert torch.equal(apply(x, drawn(flip=[True])), x.flip(3))


@BOTH
def test_crop_moves_the_window_over_black(apply):
    x = batch(count=1)
    out = apply(x, drawn(shift_px=[[3, -2]]))
    assert torch.equal(out[..., 2:, :-3], x[..., :-2, 3:])
    assert out[..., :2, :].max() == out[..., -3:].max() == 0


@BOTH
def test_brightness_scales(apply):
    x = batch(count=1)
    out = apply(x, drawn(brightness=[0.5]))
    assert (out.float() - x.float() / 2).abs().max() <= 1


@BOTH
def test_zero_contrast_and_saturation_leave_grey(apply):
    x = batch(count=1)
    assert apply(x, drawn(contrast=[0.0])).unique().numel() == 1
    grey = apply(x, drawn(saturation=[0.0]))
    assert torch.equal(grey[:, 0], grey[:, 2])


@BOTH
def test_rotation_is_counter_clockwise(apply):
    x = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    x[..., 4, 7] = 200  # right of the middle
    assert apply(x, drawn(rotation_deg=[90.0]))[..., 1, 4].item() == 200  # above it


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(24, 20), (20, 20)])
def test_batch_equals_image_by_image_up_to_rounding(size, channels):
    x = batch(size, channels)
    d = draw(AUGMENTATIONS["datn_page"], 16, 7)
    difference = (apply_each(x, d).int() - apply_batch(x, d).int()).abs()
    assert difference.max() <= 2
    assert difference.float().mean() < 0.05


@BOTH
def test_arguments_are_not_changed(apply):
    x = batch()
    kept = x.clone()
    d = draw(AUGMENTATIONS["datn_page"], 16, 1)
    copies = [part.clone() for part in d]
    apply(x, d)
    assert torch.equal(x, kept)
    assert all(torch.equal(a, b) for a, b in zip(d, copies, strict=True))


def test_draw_follows_its_key_and_stays_in_range():
    a = AUGMENTATIONS["datn_page"]
    first, again, other = (draw(a, 5000, *key) for key in ((1, 2), (1, 2), (1, 3)))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first.rotation_deg, other.rotation_deg)
    assert abs(first.flip.float().mean() - 0.5) < 0.03
    assert sorted(first.shift_px.unique().tolist()) == list(range(-8, 9))
    assert first.rotation_deg.abs().max() <= 10
    assert first.rotation_deg.abs().max() > 9.9
    assert first.contrast.min() >= 0.8
    assert first.contrast.max() <= 1.2


def test_each_change_is_drawn_independently_of_the_others():
    d = draw(AUGMENTATIONS["datn_page"], 5000, 1)
    series = [d.flip, *d.shift_px.T, d.brightness, d.contrast, d.saturation, d.rotation_deg]
    correlation = np.corrcoef(np.stack([values.double() for values in series]))
    assert np.abs(correlation - np.eye(7)).max() < 0.06  # four standard errors of independent draws


@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation"])
def test_factors_fill_their_range_and_no_other_change_is_drawn(change):
    drawn = draw(Augmentation(**{change: 0.3}), 2000, 4)
    factors = getattr(drawn, change)
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3
    for name, neutral in (
        ("flip", 0),
        ("brightness", 1),
        ("contrast", 1),
        ("saturation", 1),
        ("rotation_deg", 0),
    ):
        assert name == change or (getattr(drawn, name) == neutral).all()
    assert not drawn.shift_px.any()


def test_flip_matches_the_public_code():
    d = draw(named("flip"), 100, 0)
    assert not d.shift_px.any()
    assert (d.brightness == 1).all()
    assert (d.rotation_deg == 0).all()


@pytest.mark.parametrize(
    "options", [{"flip": 1.5}, {"contrast": 1.0}, {"crop_px": -1}, {"rotation_deg": 200.0}]
)
def test_augmentation_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Augmentation(**options)
