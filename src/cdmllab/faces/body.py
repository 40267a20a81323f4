"""Neck, shoulders and hanging hair: upright bodies whose cross-sections are ellipses."""

from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces.compositing import inside, lay, noise, plane, smooth, spot, stripe, tint
from cdmllab.faces.hair import fineness, tone
from cdmllab.faces.head import Pose
from cdmllab.faces.identity import Traits

TOP = -0.40  # height above which neither neck nor shoulders appear in the image


class Loft(NamedTuple):
    """Where the rays of the pixels meet a lofted body; all fields have shape (b, h, w).

    Attributes
    ----------
    x, y, z : the point, in the body's own frame
    normal : unit normal, in that frame
    depth : along the view, larger is nearer
    cover : share of the pixel that the body fills
    """

    x: Tensor
    y: Tensor
    z: Tensor
    normal: tuple[Tensor, Tensor, Tensor]
    depth: Tensor
    cover: Tensor


def loft(
    X: Tensor,
    y: Tensor,
    turn: Tensor,
    wide: Tensor,
    deep: Tensor,
    back: Tensor | float,
    slope: Tensor,
    pixel: float,
) -> Loft:
    """Intersect horizontal rays with an upright body whose cross-sections are ellipses.

    Parameters
    ----------
    X, y : image coordinates of the pixels
    turn : rotation about the vertical axis in radians, shape (b,)
    wide, deep : half axes of the ellipse at height y
    back : z of the ellipse's centre
    slope : derivative of `wide` with respect to y
    pixel : width of a pixel

    All tensors but `turn` have shape (b, h, w) or broadcast to it.
    """
    # In the frame of the body a ray is (u, v) + d (-s, c): its ellipse is a d^2 + 2 b d + k = 0.
    c, s = plane(turn.cos()), plane(turn.sin())
    iw, ie = 1.0 / (wide * wide), 1.0 / (deep * deep)  # inverse squares of the half axes
    u, v = X * c, X * s - back
    a = s * s * iw + c * c * ie
    b = v * c * ie - u * s * iw
    k = u * u * iw + v * v * ie - 1.0
    # A ray that misses has no root; clamping gives its closest point, which the soft edge needs.
    # The larger root is the near side, because depth grows towards the viewer.
    d = ((b * b - a * k).clamp(min=0.0).sqrt() - b) / a
    x, z = u - d * s, v + d * c
    # Half the gradient of (x / wide)^2 + (z / deep)^2; `deep` narrows half as fast as `wide`.
    nx, nz = x * iw, z * ie
    ny = -slope * (x * x * iw) / wide - 0.5 * slope * z * z * ie / wide
    length = (nx * nx + ny * ny + nz * nz).clamp(min=1e-9).rsqrt()
    # Half the width of the turned ellipse in the image, and the signed distance to its edge.
    reach = (wide * wide * c * c + deep * deep * s * s).sqrt()
    edge = (X - s * back).abs() - reach
    return Loft(x, y, z + back, (nx * length, ny * length, nz * length), d, inside(edge, pixel))


def torso(
    X: Tensor, Y: Tensor, turn: Tensor, t: Traits, pose: Pose, cloth: Tensor, pixel: float
) -> tuple[Loft, Tensor]:
    """Neck and shoulders in image coordinates, and their linear albedo (b, 3, h, w).

    `cloth` (b, 4) is the linear colour of the clothes and the cut of the collar in (0, 1).
    """
    male = t["male"]
    # The neck flows into the shoulders from y = -1.02 downwards; `fall` measures how far.
    neck = plane(0.325 + 0.075 * male + 0.014 * t["neck_width"])
    y = Y.expand(len(male), -1, X.shape[-1])
    fall = ((-1.02 - y) / 0.30).clamp(0.0, 1.3)
    shoulders = plane(0.86 + 0.16 * male)
    wide = neck + 0.02 * smooth((y + 0.9) * 3.0) + shoulders * fall**2.3
    slope = -shoulders * 2.3 * fall**1.3 / 0.30 * (fall < 1.3)
    deep = neck * 0.96 + 0.24 * fall**1.6
    body = loft(X, y, turn, wide, deep, -0.20 + 0.02 * fall, slope, pixel)
    body = body._replace(cover=body.cover * (y < -0.45))  # the jaw hides what is above
    skin = t["skin"] * t["skin"] * 0.94  # from display to linear, see `develop`
    albedo = skin[:, :, None, None].expand(-1, -1, *body.depth.shape[1:]).clone()
    front = smooth(body.z * 2.5 + 0.6)
    # Muscles from the ears to the hollow of the throat, the hollow itself, and creases with age.
    muscle = (
        stripe(body.x.abs() - 0.07 - 0.52 * (y + 1.16).clamp(min=0.0), 0.03, 0.07)
        * smooth((y + 1.22) * 12.0)
        * front
    )
    tint(albedo, torch.tensor([1.14, 1.13, 1.12], device=X.device), muscle * 0.8)
    tint(
        albedo,
        torch.tensor([0.66, 0.58, 0.56], device=X.device),
        spot(body.x * 13.0, (y + 1.165) * 17.0) * front * 0.9,
    )
    tint(
        albedo,
        torch.tensor([0.78, 0.72, 0.70], device=X.device),
        stripe(y + 1.06 + 0.03 * torch.cos(body.x * 9.0), 0.004, 0.02)
        * front
        * plane(0.3 + 0.6 * pose["age"]),
    )
    # The cut chooses a V-neck, a round neck or a high collar; cloth is where `edge` is negative.
    cut = plane(cloth[:, 3])
    deepness = torch.where(
        cut > 0.62,
        0.17 * (1.0 - body.x.abs() * 2.6).clamp(min=0.0),
        0.05 * (1.0 - (body.x * 2.6) ** 2).clamp(min=0.0),
    )
    collar = -1.115 - deepness * (body.z > -0.1) + torch.where(cut < 0.25, 0.06, 0.0)
    edge = y - collar
    weave = 1.0 + 0.05 * noise(body.x * 0.5, y * 0.4)
    lay(albedo, cloth[:, :3, None, None] * weave[:, None], inside(edge, pixel))
    # The seam of the collar, and its shadow on the skin just above.
    tint(
        albedo, torch.tensor([0.62, 0.62, 0.64], device=X.device), stripe(edge + 0.045, 0.006, 0.02)
    )
    tint(
        albedo,
        torch.tensor([0.55, 0.48, 0.46], device=X.device),
        smooth(1.0 - (edge - 0.01) * 22.0) * (edge > 0.0) * 0.7,
    )
    return body, albedo


def curtain(
    X: Tensor,
    Y: Tensor,
    turn: Tensor,
    t: Traits,
    style: dict[str, Tensor],
    age: Tensor,
    pixel: float,
) -> tuple[Loft, Tensor, Tensor]:
    """Hanging hair, with the head upright: its body, linear colour and outline.

    Returns
    -------
    The body, open in front of the face; the colour, shape (b, 3, h, w); the cover of near and far
    side together, shape (b, h, w).
    """
    y = Y.expand(len(age), *X.shape[1:])
    curl = plane(style["curl"])
    phase = plane(t["hair_curl"]) * 3.0
    # Locks swing from side to side, in another phase on the left than on the right.
    wave = torch.sin(y * 9.0 + phase + torch.sign(X)) + 0.6 * torch.sin(y * 17.0 - 2.0 * phase)
    end = plane(style["hang"] + 0.10 * t["hair_length"])
    spread = plane(style["spread"] * (1.0 + 0.025 * t["hair_volume"]))
    # Width by height: full at the cheeks, tucked in at the lower end, narrow at the crown.
    down = ((0.35 - y) / 1.5).clamp(0.0, 1.2)
    tuck = smooth((end + 0.30 - y) * 2.2) * 0.12
    wide = spread * (0.90 + 0.22 * down - 0.16 * down * down - tuck) + (0.006 + 0.03 * curl) * wave
    wide = wide * (0.80 + 0.20 * smooth((0.50 - y) * 2.2))
    slope = spread * (-0.15 + 0.2 * down)
    hair = loft(X, y, turn, wide, 0.40 + 0.10 * smooth((0.50 - y) * 2.0), -0.36, slope, pixel * 1.5)
    # Strands: noise that is fine around the body and stretched along it.
    around = torch.atan2(hair.x, hair.z + 0.36)
    grain = noise(
        around * 0.40 + (0.012 + 0.05 * curl) * wave + plane(t["hair_curl"]),
        y * (0.06 + 0.3 * curl) + plane(t["hair_volume"]),
    ) * fineness(pixel)
    # Open in front; below the jaw the hair hangs on both sides of the neck.
    gap = 0.40 + 0.10 * smooth((-0.80 - y) * 2.0) + 0.03 * wave
    front = (
        inside(hair.x.abs() - gap, 0.06) * smooth((hair.z + 0.30) * 6.0) * smooth((-0.30 - y) * 4.0)
    )
    # From the crown to a ragged lower end, only in styles that hang.
    outline = (
        hair.cover
        * inside(y - 0.44, 0.1)
        * inside(end - y - 0.035 * grain, 0.05 + pixel)
        * plane((style["hang"] < 0.4).float())
    )
    # Darker behind.
    colour = tone(t, age, grain) * (0.62 + 0.38 * smooth(hair.z * 1.3 + 0.9))[:, None]
    return hair._replace(cover=outline * (1.0 - front)), colour, outline
