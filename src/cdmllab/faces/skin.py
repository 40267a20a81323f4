"""Skin, nose, mouth, beard, freckles, moles and wrinkles, painted in the plane of the face."""

import torch
from torch import Tensor

from cdmllab.faces import head
from cdmllab.faces.compositing import inside, lay, noise, plane, smooth, spot, stripe, tint
from cdmllab.faces.head import Pose
from cdmllab.faces.identity import Traits


def base(x: Tensor, y: Tensor, z: Tensor, front: Tensor, t: Traits, pose: Pose) -> Tensor:
    """Linear albedo of the skin without any features: shape (b, 3, h, w)."""
    skin = t["skin"] * t["skin"]  # from display to linear, see `develop`
    albedo = skin[:, :, None, None].expand(-1, -1, *x.shape[1:]).clone()
    xa = x.abs()  # both sides at once
    blotch = noise(x * 0.09 + 0.31, y * 0.09 + z * 0.05)
    albedo.mul_(1.0 + 0.022 * blotch[:, None])
    rosy = _rgb(x, 1.06, 0.80, 0.80)
    ex, _ = head.eye_centre(t)
    cheeks = spot((xa - plane(ex) - 0.09) * 5.2, (y + 0.30) * 6.0) * front
    tint(albedo, rosy, cheeks * plane((0.62 + 0.25 * t["blush"]).clamp(0.1, 1.2)))
    tip = plane(head.nose_tip(t))
    tint(
        albedo,
        rosy,
        spot(x * 7.0, (y - tip) * 8.0) * front * plane((0.45 + 0.2 * t["blush"]).clamp(0.0, 1.0)),
    )
    return albedo


def features(
    albedo: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    front: Tensor,
    t: Traits,
    pose: Pose,
    pixel: float,
) -> Tensor:
    """Paint the features of the face but eyes, brows and hair, in place.

    Parameters
    ----------
    albedo : linear colours, shape (b, 3, h, w)
    x, y, z : point of each pixel in head space, shape (b, h, w)
    front : 1 where the surface faces forward, shape (b, h, w)

    Returns
    -------
    How much lips and teeth shine in addition to the skin, shape (b, h, w)
    """
    xa = x.abs()
    tip = plane(head.nose_tip(t))
    soft = max(pixel, 0.014)
    # Nostrils: soft commas below the tip of the nose, and creases around its wings.
    wing = plane(head.nose_wing(t))
    nostril = (
        spot(
            (xa - 0.52 * wing) / (0.34 * wing), (y - tip + 0.066 - 0.12 * (xa - 0.5 * wing)) / 0.017
        )
        * front
    )
    tint(albedo, _rgb(x, 0.20, 0.10, 0.09), nostril * 0.85)
    ring = ((xa - wing + 0.012) ** 2 + (y - tip + 0.026) ** 2).sqrt()
    crease = (
        stripe(ring - 0.052, 0.006, 0.024)
        * inside(wing - 0.004 - xa, 0.03)
        * inside(y - tip - 0.02, 0.05)
        * front
    )
    tint(albedo, _rgb(x, 0.60, 0.46, 0.42), crease * 0.75)
    _wrinkles(albedo, x, xa, y, front, t, pose, soft)
    _spots(albedo, x, xa, y, front, t, pixel)
    _beard(albedo, x, xa, y, z, t, pose, pixel)
    return _mouth(albedo, x, y, front, t, pose, pixel)


def _mouth(
    albedo: Tensor, x: Tensor, y: Tensor, front: Tensor, t: Traits, pose: Pose, pixel: float
) -> Tensor:
    half = plane(head.mouth_half_width(t, pose))
    full_u, full_l = (plane(f) for f in head.lip_heights(t, pose["age"]))
    # From -1 to 1 across the mouth; `arch` is 1 in the middle and 0 at the corners.
    q = (x / half).clamp(-1.3, 1.3)
    q2 = q * q
    arch = (1.0 - q2).clamp(min=0.0)
    corner = plane(pose["corner"] + 0.008 * t["mouth_corner"] + 0.010)
    line = plane(head.mouth_centre(t)) + corner * q2 + 0.0045 * torch.cos(q * 7.0) * arch
    # An open mouth parts the lips, the lower one more.
    gape = plane(pose["open"]) * 0.16 * arch
    top, bottom = line + 0.30 * gape, line - 0.70 * gape
    # Cupid's bow.
    bow = 1.0 - 0.30 * spot(q * 7.0, q * 0.0) + 0.16 * spot((q.abs() - 0.24) * 5.0, q * 0.0)
    upper = top + full_u * arch * (0.50 + 0.50 * arch) * bow
    lower = bottom - full_l * arch.sqrt() * (0.30 + 0.70 * arch)
    outside = (q.abs() - 1.0) * half
    soft = max(pixel, 0.020)
    lips = inside(torch.maximum(torch.maximum(y - upper, lower - y), outside), soft) * front
    skin = t["skin"] * t["skin"]
    rose = torch.tensor([[0.90, 0.40, 0.40]], device=x.device)
    # Lips are rosier in women; above a threshold, lipstick covers the rose.
    rich = (0.80 - 0.50 * t["male"] + 0.12 * t["lip_colour"]).clamp(0.15, 0.95)
    colour = skin * torch.lerp(torch.ones_like(rose), rose, rich[:, None])
    lipstick = ((t["lip_colour"] - 0.6) * (0.6 - t["male"])).clamp(0.0, 0.75)[:, None]
    colour = torch.lerp(colour, torch.tensor([[0.36, 0.045, 0.06]], device=x.device), lipstick)
    lay(albedo, colour, lips * 0.88)
    # The upper lip is in shadow, and the lower one throws one.
    tint(albedo, _rgb(x, 0.70, 0.62, 0.64), lips * smooth((y - line + 0.004) * 60.0) * 0.65)
    tint(
        albedo,
        _rgb(x, 0.72, 0.66, 0.66),
        stripe(y - lower + 0.022, 0.012, 0.035) * inside(outside + 0.35 * half, 0.1) * front * 0.55,
    )
    # The opening: a dark gap with teeth behind the upper lip, at least as thick as the line between
    # closed lips.
    gap = torch.maximum(torch.maximum(y - top, bottom - y) - 0.0052 * (0.35 + 0.65 * arch), outside)
    gap_cover = inside(gap, pixel) * front
    thin = stripe(y - line, 0.0052, pixel) * inside(outside - 0.012, 0.03) * front
    lay(albedo, colour * 0.10 + 0.004, torch.maximum(gap_cover, thin) * 0.92)
    teeth = inside(
        torch.maximum(torch.maximum(y - top + 0.006, top - 0.055 - y), bottom - y + 0.004), soft
    )
    teeth = (
        teeth * inside(outside + 0.10 * half, 0.03) * front * plane(pose["teeth"].clamp(0.0, 1.0))
    )
    lay(albedo, _rgb(x, 0.68, 0.64, 0.57).expand(len(x), 3), teeth)
    # The corners are a little darker.
    ends = spot((q.abs() - 1.02) * 12.0, (y - line) * 60.0) * front
    tint(albedo, _rgb(x, 0.55, 0.42, 0.40), ends * 0.6)
    return (lips * (1.0 - gap_cover) * inside(y - line, 0.02)) * 0.9 + teeth * 0.5


def _wrinkles(
    albedo: Tensor,
    x: Tensor,
    xa: Tensor,
    y: Tensor,
    front: Tensor,
    t: Traits,
    pose: Pose,
    soft: float,
) -> None:
    age = plane(pose["age"])
    fold_colour = _rgb(x, 0.62, 0.50, 0.47)
    wing = plane(head.nose_wing(t))
    tip, mouth = plane(head.nose_tip(t)), plane(head.mouth_centre(t))
    # The fold from the nose to the mouth, deeper with age and with a smile.
    along = ((tip + 0.02 - y) / (tip + 0.02 - mouth)).clamp(-0.2, 1.4)
    fold = stripe(xa - wing - 0.035 - 0.135 * along**1.0 + 0.03 * along * along, 0.008, 0.034)
    fold = fold * smooth(along * 5.0 + 0.4) * smooth((1.25 - along) * 3.0) * front
    tint(
        albedo, fold_colour, fold * (0.22 + 0.75 * age + 0.45 * plane(pose["smile"])).clamp(max=1.0)
    )
    # Three lines across the forehead, deeper with age and with raised brows.
    wave = y + 0.012 * torch.cos(x * 9.0 + plane(t["mole_x1"])) - 0.02 * xa
    lines = torch.zeros_like(x)
    for level, weight in ((0.30, 0.8), (0.375, 1.0), (0.45, 0.85)):
        lines = lines + weight * stripe(wave - level, 0.0055, max(soft, 0.016))
    raised = (age * 1.1 - 0.25 + 0.5 * plane(pose["brow"].clamp(min=0.0))).clamp(0.0, 0.85)
    tint(albedo, fold_colour, lines * inside(xa - 0.36, 0.25) * front * raised)
    # Two upright lines between the brows.
    frown = (
        stripe(xa - 0.042, 0.006, max(soft, 0.018))
        * inside((y - 0.155).abs() - 0.045, 0.06)
        * front
    )
    tint(
        albedo,
        fold_colour,
        frown * (0.8 * age - 0.15 + plane(-pose["furrow"]).clamp(min=0.0)).clamp(0.0, 0.9),
    )
    # Crow's feet: three lines that fan out from the outer corner of the eye.
    ex, ey = head.eye_centre(t)
    rx, ry = xa - plane(ex) - 0.11, y - plane(ey)
    fan = torch.zeros_like(x)
    for slope in (-0.55, -0.05, 0.45):
        fan = fan + stripe(ry - slope * rx, 0.0045, max(soft, 0.015))
    fan = fan * smooth((rx - 0.02) * 25.0) * smooth((0.17 - rx) * 12.0) * front
    tint(albedo, fold_colour, fan * (1.1 * age - 0.2 + 0.4 * plane(pose["smile"])).clamp(0.0, 0.8))


def _spots(
    albedo: Tensor, x: Tensor, xa: Tensor, y: Tensor, front: Tensor, t: Traits, pixel: float
) -> None:
    offset = plane(t["mole_x2"]) * 0.37  # so that no two people have the same freckles
    # Freckles where smooth noise is high, on nose and cheeks.
    dots = smooth((noise(x * 0.52 + offset, y * 0.52 + offset) - 1.0) * 1.6)
    where = spot((xa - 0.22) * 3.0, (y + 0.18) * 4.5) * front
    tint(albedo, _rgb(x, 0.62, 0.46, 0.36), dots * where * plane(t["freckles"]) * 0.95)
    # Up to three moles, the next one for people with a higher latent.
    for k, least in ((1, 0.1), (2, 0.8), (3, 1.5)):
        mx, my = (
            plane(0.30 * t[f"mole_x{k}"].clamp(-1.6, 1.6)),
            plane(-0.25 + 0.25 * t[f"mole_y{k}"].clamp(-1.6, 1.6)),
        )
        there = plane(((t["moles"] - least) * 4.0).clamp(0.0, 0.85))
        distance = ((x - mx) ** 2 + (y - my) ** 2).sqrt()
        tint(
            albedo,
            _rgb(x, 0.30, 0.20, 0.16),
            inside(distance - 0.0125, max(pixel, 0.012)) * there * front,
        )


def _beard(
    albedo: Tensor, x: Tensor, xa: Tensor, y: Tensor, z: Tensor, t: Traits, pose: Pose, pixel: float
) -> None:
    mouth, half = plane(head.mouth_centre(t)), plane(head.mouth_half_width(t, pose))
    shape = plane(t["beard_shape"])
    # A cheek line from the sideburns to the corners of the mouth; no hair on the lips.
    line = -0.40 - 0.16 * smooth((0.52 - xa) * 3.0) - 0.03 * shape.clamp(-1.0, 1.0)
    jaw = smooth((line - y) * 7.0) * smooth((z + 0.05) * 6.0)
    moustache = inside(
        ((x / (half * 1.12)) ** 2 + ((y - mouth - 0.095) / 0.055) ** 2 - 1.0) * 0.06, 0.06
    )
    goatee = inside(
        ((x / (half * 0.95)) ** 2 + ((y - mouth + 0.20) / 0.24) ** 2 - 1.0) * 0.1, 0.08
    ) * (z > 0.2)
    # Jaw, moustache and goatee make up the beard; its shape decides about the cheeks.
    cheeks = smooth((1.1 - shape) * 2.0)
    clean = spot(x / (half * 0.92), (y - mouth + 0.01) / 0.075)
    region = torch.maximum(jaw * cheeks, torch.maximum(moustache * 0.95, goatee))
    region = region * (1.0 - 0.92 * clean * smooth((mouth + 0.06 - y) * 20.0))
    grain = noise(x * 0.55 + 0.1 * y, y * 0.24) * min(1.0, 0.026 / pixel)
    thick = plane(t["beard"])
    cover = (region * (thick * 1.25 + 0.11 * thick * grain)).clamp(0.0, 0.94)
    # Shaved beards leave a bluish shade, more under dark hair.
    shade = plane(((t["male"] - 0.5) * 2.0).clamp(0.0, 1.0)) * jaw.maximum(moustache)
    tint(
        albedo,
        _rgb(x, 0.72, 0.74, 0.78),
        shade * (0.30 + 0.04 * grain) * plane(1.2 - 0.9 * t["hair"].mean(1)),
    )
    grey = smooth((pose["age"] - 0.35) * 1.6)[:, None] * 0.75
    colour = torch.lerp(t["hair"] * t["hair"] * 0.75, torch.full_like(t["hair"], 0.42), grey)
    grained = colour[:, :, None, None] * (1.0 + 0.28 * grain[:, None]).clamp(min=0.3)
    lay(albedo, grained, cover)


def _rgb(like: Tensor, red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([[red, green, blue]], device=like.device)
