"""Eyes and brows, painted in the plane of the face, both sides at once by mirroring."""

import torch
from torch import Tensor

from cdmllab.faces import head
from cdmllab.faces.compositing import inside, lay, plane, smooth, spot, stripe, tint
from cdmllab.faces.head import Pose
from cdmllab.faces.identity import Traits


def paint(
    albedo: Tensor,
    gloss: Tensor,
    x: Tensor,
    y: Tensor,
    front: Tensor,
    t: Traits,
    pose: Pose,
    pixel: float,
) -> Tensor:
    """Paint eyes and brows over the skin, in place.

    Parameters
    ----------
    albedo : linear colours, shape (b, 3, h, w)
    gloss : shininess of the skin, shape (b, h, w), which is reduced inside the eyes
    x, y : point of each pixel in the plane of the face, shape (b, h, w)
    front : 1 where the surface faces forward, shape (b, h, w)

    Returns
    -------
    The highlights on the eyes, shape (b, h, w)
    """
    # u runs along the eye from -1 at the inner to 1 at the outer corner, w is the height above it.
    side = torch.sign(x)
    ex, ey = head.eye_centre(t)
    wide = plane(0.141 + 0.012 * t["eye_size"] - 0.010 * (t["male"] - 0.5))
    opened = 1.0 + pose["lids"]
    tall = plane(
        (
            0.061
            + 0.009 * t["eye_open"]
            + 0.005 * t["eye_size"]
            - 0.010 * (t["male"] - 0.5)
            - 0.006 * pose["age"]
        )
        * opened
    )
    u = (x.abs() - plane(ex)) / wide
    lift = plane(0.012 + 0.016 * t["eye_tilt"] - 0.008 * pose["age"])
    w = y - plane(ey) - lift * u
    arch = (1.0 - u * u).clamp(min=0.0)
    soft = max(pixel, 0.012)  # width of edges, also in large images
    # Upper lid: highest a little towards the nose; lower lid: flatter, lowest a little outwards.
    upper = tall * arch.sqrt() * (0.55 + 0.45 * arch) * (1.0 - 0.16 * u)
    lower = -0.60 * tall * arch * (1.0 + 0.22 * u)
    outside = (u.abs() - 1.0) * wide
    above, below = w - upper, lower - w
    # Negative in the opening: below the upper lid, above the lower one, between the corners.
    opening = torch.maximum(torch.maximum(above, below) * 0.85, outside)
    open_ = inside(opening, pixel) * front

    # The skin around the eye: tone of the socket, make-up, crease of the lid, bags.
    near = spot(u * 0.80, (w - 0.02) * 9.0) * front
    tint(
        albedo,
        _rgb(albedo, 0.80, 0.68, 0.66),
        near * plane(0.40 + 0.14 * t["eye_depth"].clamp(-1, 2) * 0.5),
    )
    eye_shadow = plane((0.35 - t["male"]).clamp(min=0.0)) * (w > upper).float()
    tint(
        albedo,
        _rgb(albedo, 0.70, 0.55, 0.55),
        eye_shadow * spot(u * 0.9, (w - upper - 0.03) * 22.0) * front,
    )
    within = inside((u.abs() - 1.05) * wide, 0.05) * front
    crease_gap = plane(0.026 + 0.006 * t["eye_crease"] + 0.004 * t["eye_open"])
    crease = (
        stripe(above - crease_gap * (0.55 + 0.45 * arch), 0.0065, soft)
        * within
        * smooth(arch * 2.0)
    )
    tint(
        albedo,
        _rgb(albedo, 0.55, 0.42, 0.38),
        crease * plane((0.75 + 0.2 * t["eye_crease"]).clamp(0.15, 1.0)),
    )
    bag = stripe(below - 0.045, 0.010, 0.03) * within * arch
    tint(
        albedo,
        _rgb(albedo, 0.72, 0.60, 0.60),
        bag * plane((0.22 + 0.15 * t["eye_bags"] + 0.6 * pose["age"]).clamp(0.0, 0.9)),
    )

    # The eyeball: white, inner corner, iris, pupil, and the shadow of the upper lid.
    lay(albedo, _rgb(albedo, 0.70, 0.66, 0.63).expand(len(x), 3), open_)
    # The white is darker towards the corners, where the ball turns away; the inner one is pink.
    corner = smooth((u.abs() - 0.35) * 1.4)
    tint(albedo, _rgb(albedo, 0.52, 0.42, 0.40), corner * open_)
    inner = spot((u + 0.95) * 5.0, (w + 0.2 * tall) * 28.0)
    lay(albedo, _rgb(albedo, 0.60, 0.28, 0.26).expand(len(x), 3), inner * open_ * 0.8)
    radius = plane(0.0625 + 0.002 * t["eye_size"])
    gaze_x, gaze_y = plane(pose["gaze_x"]), plane(pose["gaze_y"])
    # Both eyes look the same way, so the gaze is mirrored back on the left.
    ix, iy = u * wide - side * gaze_x, w - 0.008 - gaze_y
    r = (ix * ix + iy * iy).sqrt()
    iris = t["iris"] * t["iris"]
    eye = open_ * inside(r - radius, soft)
    lay(albedo, iris * 0.9, eye)
    # From 0 at the centre to 1 at the rim of the iris,
    # which is dark; light glows in its lower half.
    depth = (r / radius).clamp(max=1.0)
    tint(albedo, _rgb(albedo, 0.22, 0.22, 0.25), eye * smooth((depth - 0.62) * 2.6) * 0.85)
    glow = eye * spot(ix / radius * 1.5, (iy / radius + 0.45) * 1.9)
    lay(albedo, (iris * 2.2 + 0.02).clamp(max=0.9), glow * 0.55)
    lay(  # the pupil
        albedo,
        _rgb(albedo, 0.006, 0.005, 0.006).expand(len(x), 3),
        open_ * inside(r - 0.43 * radius, soft),
    )
    # The shadow of the lid.
    tint(albedo, _rgb(albedo, 0.36, 0.32, 0.32), open_ * smooth(1.0 + above * 26.0))

    # Lashes: a dark line that thickens outwards along the upper lid, a lighter one below.
    lash = t["hair"] * t["hair"] * 0.12 + 0.004
    female = 1.0 - t["male"]
    line = stripe(
        above - 0.004, plane(0.0058 + 0.0085 * female) * (1.0 + 0.35 * u), pixel
    ) * inside(outside - 0.012, 0.02)
    lay(albedo, lash, line * front * 0.92)
    wing = stripe(w - upper - 0.004 - (u - 0.95).clamp(min=0.0) * 0.06, plane(0.008 * female), soft)
    lay(albedo, lash, wing * inside((u - 1.10).abs() * wide - 0.018, 0.02) * front * 0.8)
    rim = stripe(below - 0.003, 0.0045, pixel) * inside(outside, 0.02)
    lay(albedo, lash * 4.0 + 0.03, rim * front * plane(0.30 + 0.25 * female))

    _brows(albedo, x, y, side, front, t, pose, pixel, ex)
    # On the eyeball the skin's gloss is replaced by two highlights, on the same side in both eyes.
    gloss.mul_(1.0 - 0.7 * open_)
    shine = inside(
        ((ix * side + 0.018) ** 2 + (iy - 0.020) ** 2).sqrt() - 0.0125, max(pixel * 0.8, 0.012)
    )
    faint = inside(((ix * side - 0.020) ** 2 + (iy + 0.020) ** 2).sqrt() - 0.007, max(pixel, 0.015))
    return (shine * 0.85 + faint * 0.22) * eye


def _brows(
    albedo: Tensor,
    x: Tensor,
    y: Tensor,
    side: Tensor,
    front: Tensor,
    t: Traits,
    pose: Pose,
    pixel: float,
    ex: Tensor,
) -> None:
    """Brows that taper towards the temples, with hairs that lean outwards."""
    male = t["male"]
    height = plane(0.158 + 0.018 * t["brow_height"] - 0.026 * male + 0.038 * pose["brow"])
    height = height + side * plane(0.005 * t["asymmetry"])
    half = 0.168
    q = (x.abs() - plane(ex) - 0.012) / half  # from -1 at the inner end to 1 at the outer end
    tilt = plane(0.016 * t["brow_tilt"] + 0.004)
    arch = plane(0.036 + 0.013 * t["brow_arch"] - 0.020 * male)
    # The line of the brow: tilted, arched, and moved at its inner end by a frown.
    middle = (
        height
        + tilt * q
        - arch * (q - 0.25) ** 2
        + plane(pose["furrow"]) * (0.030 * (1.0 - q).clamp(min=0.0) - 0.02)
    )
    thick = plane((0.0170 + 0.0060 * t["brow_thick"] + 0.011 * male).clamp(min=0.009))
    taper = (
        thick * (1.0 - 0.62 * smooth((q + 0.1) * 0.85)) * (0.80 + 0.20 * smooth((q + 1.0) * 2.0))
    )
    # Offset from the line; single hairs would only flicker in small images.
    off = y - middle
    hairs = torch.sin((q * 34.0 - off * 190.0) + 2.0 * torch.sin(q * 9.0)) * (
        0.003 if pixel < 0.035 else 0.0
    )
    cover = (
        stripe(off + hairs, taper, max(pixel, 0.016)) * inside((q.abs() - 1.0) * half, 0.05) * front
    )
    grey = plane(smooth((pose["age"] - 0.45) * 1.6) * 0.6)[:, None, :, :]
    colour = (t["hair"] * t["hair"] * (0.55 + 0.1 * t["brow_colour"][:, None])).clamp(0.004, 1.0)
    strong = plane((0.80 + 0.08 * t["brow_thick"]).clamp(0.55, 0.95))
    lay(
        albedo,
        torch.lerp(
            colour[:, :, None, None], torch.full_like(colour, 0.36)[:, :, None, None], grey
        ).expand_as(albedo),
        cover * strong,
    )


def _rgb(like: Tensor, red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([[red, green, blue]], device=like.device)
