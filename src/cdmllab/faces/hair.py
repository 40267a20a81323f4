"""Hair: a shell that rises from a soft hairline on the skull; long hair adds a hanging curtain.

The curtain itself is `cdmllab.faces.body.curtain`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces import template
from cdmllab.faces.compositing import noise, plane, smooth
from cdmllab.faces.identity import STYLES, Traits


class Style(NamedTuple):
    """Shape of a hair style; angles are degrees of elevation, lengths half head heights."""

    front: float  # elevation of the hairline above the forehead
    side: float  # elevation of the lower edge in front of the ear
    nape: float  # elevation of the lower edge at the back
    top_thick: float  # thickness of the shell
    side_thick: float
    rise: float  # angle from the hairline at which the shell has its full thickness
    sweep: float  # degrees by which the hairline drops to one side
    curl: float  # from 0 for straight to 1 for tight curls
    hang: float  # height of the curtain's lower end; 0.4 and above mean no curtain
    spread: float  # half width of the curtain
    pole_x: float  # direction of the crown, from which the strands grow
    pole_y: float
    pole_z: float
    ragged: float  # width of the irregular edge, as an angle in radians


_STYLES = {
    "bald": Style(140.0, -6.0, -30.0, 0.0, 0.012, 20.0, 0.0, 0.0, 0.5, 0.7, 0.0, 0.8, -0.6, 0.05),
    "receding": Style(
        53.0, -8.0, -32.0, 0.035, 0.030, 25.0, 0.0, 0.0, 0.5, 0.7, 0.0, 0.8, -0.6, 0.07
    ),
    "crop": Style(
        38.5, -10.0, -33.0, 0.045, 0.022, 22.0, 0.0, 0.25, 0.5, 0.7, 0.0, 0.8, -0.6, 0.045
    ),
    "short": Style(
        37.0, -12.0, -35.0, 0.135, 0.045, 24.0, 2.0, 0.15, 0.5, 0.7, 0.1, 0.8, -0.6, 0.07
    ),
    "side_part": Style(
        37.0, -12.0, -35.0, 0.155, 0.045, 20.0, 7.0, 0.0, 0.5, 0.7, 0.42, 0.85, 0.25, 0.06
    ),
    "fringe": Style(
        21.0, -16.0, -38.0, 0.12, 0.075, 11.0, 2.5, 0.0, 0.5, 0.7, 0.0, 0.9, -0.3, 0.10
    ),
    "bob": Style(
        36.0, -44.0, -50.0, 0.12, 0.10, 16.0, 6.0, 0.0, -0.78, 0.80, 0.25, 0.9, 0.30, 0.06
    ),
    "long": Style(
        39.0, -46.0, -55.0, 0.10, 0.085, 18.0, 3.0, 0.1, -1.60, 0.78, 0.05, 0.92, 0.35, 0.06
    ),
    "curly": Style(
        35.0, -40.0, -50.0, 0.17, 0.14, 16.0, 2.0, 0.8, -0.95, 0.88, 0.1, 0.9, 0.1, 0.09
    ),
    "afro": Style(37.0, -10.0, -40.0, 0.235, 0.20, 17.0, 0.0, 1.0, 0.5, 0.9, 0.0, 0.9, 0.0, 0.05),
    "bun": Style(
        41.0, -10.0, -34.0, 0.055, 0.030, 18.0, 0.0, 0.0, 0.5, 0.7, 0.0, 0.75, -0.66, 0.06
    ),
}


def styles(t: Traits) -> dict[str, Tensor]:
    """The fields of `Style` for each face, each of shape (b,)."""
    table = torch.tensor([list(_STYLES[name]) for name in STYLES], device=t["male"].device)
    return dict(zip(Style._fields, table[t["style"]].unbind(1), strict=True))


def shell(
    t: Traits, style: dict[str, Tensor], age: Tensor, rows: int, columns: int
) -> tuple[Tensor, Tensor]:
    """Thickness of the hair and the hair field, both of shape (b, rows, columns).

    The field is the angle from the hairline in radians, positive where hair grows.
    """
    v, azimuth = template.grid(rows, columns, age.device)
    degree = math.pi / 180.0
    # Elevation from -pi/2 to pi/2, and azimuth, 0 in front and pi at the back.
    elevation = torch.asin(v)[None, :, None]
    turn = azimuth[None, None, :]
    away = turn.abs()
    side = torch.sign(plane(t["part_side"]))
    male = plane(t["male"])
    # How far the hairline has receded: in men, with age, if they tend to it.
    thin = plane(age) * male * smooth(plane(t["hairline"]) + 0.6)
    front = (
        plane(style["front"] * degree) + 0.045 * plane(t["hairline"].clamp(-1.0, 1.5)) + 0.16 * thin
    )
    front = front - plane(style["sweep"] * degree) * side * torch.sin(turn * 1.6)
    # The hairline recedes over the temples, more with age in men.
    bay = (0.06 + 0.10 * thin + 0.05 * male) * torch.exp(-(((away - 0.55) / 0.24) ** 2))
    # Styles that start this high, receding and bald, have deeper bays over the temples.
    bay = bay + plane(style["front"] > 50.0) * 0.28 * torch.exp(-(((away - 0.50) / 0.30) ** 2))
    front = front + bay * (plane(style["front"]) > 25.0)
    # From the front to the side: the hairline drops along the temple to the lower edge.
    down = plane(style["side"] * degree)
    drop = smooth((away - 0.82 - 0.04 * plane(t["face_width"])) / 0.50)
    line = torch.lerp(front, down, drop)
    back = smooth((away - 1.50) / 0.35)
    behind = plane(style["nape"] * degree)
    # Short hair leaves the ear free: the edge rises around it.
    ear = (
        0.22
        * torch.exp(-(((away - 1.62) / 0.22) ** 2))
        * (plane(style["side"]) > -30.0)
        * (plane(style["side_thick"]) < 0.15)
    )
    line = torch.lerp(line, behind, back) + ear
    # Where the line is steep, elevation overstates the distance to it.
    steep = 1.0 + 1.1 * torch.exp(-(((away - 1.07) / 0.20) ** 2))
    field = (elevation - line) / steep
    # A bald head keeps a wreath of hair around the sides and the back.
    bare = plane((style["front"] > 90.0).float())
    wreath = torch.minimum(
        (away - 1.25) * 0.8,
        torch.minimum(elevation + 0.5, 0.42 + 0.1 * plane(t["hairline"]) - elevation),
    )
    field = torch.lerp(field, wreath, bare)
    # Thickness goes over from that of the sides to that of the top.
    over = smooth((elevation - 0.15) / 0.75)
    thick = torch.lerp(plane(style["side_thick"]), plane(style["top_thick"]), over) * plane(
        1.0 + 0.14 * t["hair_volume"]
    )
    rise = smooth(field / plane(style["rise"] * degree) + 0.12)
    # Swept styles are fuller on one side.
    quiff = 1.0 + 0.22 * side * torch.sin(turn) * plane((style["sweep"] > 5.0).float())
    phase = plane(t["hair_curl"]) * 3.0
    curl = plane(style["curl"])
    lumps = torch.sin(7.0 * turn + phase + 2.0 * torch.sin(5.0 * elevation)) * torch.sin(
        9.0 * elevation + 1.7 * phase + torch.sin(6.0 * turn)
    )
    lumps = lumps + 0.5 * torch.sin(13.0 * turn - phase) * torch.sin(15.0 * elevation + phase)
    # Lumps fade out at the back, where the two ends of the texture meet.
    seam = smooth((math.pi - away) / 0.5)
    return thick * rise * quiff * (1.0 + 0.16 * curl * lumps * seam), field


class Strands(NamedTuple):
    """The appearance of hair at every pixel."""

    colour: Tensor  # (b, 3, h, w), linear
    shine: Tensor  # (b, h, w), strength of the highlight
    grain: Tensor  # (b, h, w), noise that varies from strand to strand


def strands(
    t: Traits, style: dict[str, Tensor], age: Tensor, point: tuple[Tensor, Tensor, Tensor],
    normal: tuple[Tensor, Tensor, Tensor], half: Tensor, pixel: float,
) -> Strands:  # fmt: skip
    """Colour and highlight of hair at points of the shell.

    `half` (b, 3) is the half vector of light and view.
    """
    # Strands run like meridians from the pole; (first, second, pole) is an orthonormal frame.
    side = torch.sign(t["part_side"])
    pole = torch.stack([style["pole_x"] * side, style["pole_y"], style["pole_z"]], 1)
    pole = pole / pole.norm(dim=1, keepdim=True)
    first = torch.stack([pole[:, 1], -pole[:, 0], torch.zeros_like(side)], 1)
    first = first / first.norm(dim=1, keepdim=True)
    second = torch.linalg.cross(pole, first)
    x, y, z = point
    a, b, c = (
        plane(e[:, 0]) * x + plane(e[:, 1]) * y + plane(e[:, 2]) * z for e in (first, second, pole)
    )
    # The angle around the pole is the same all along a strand, so noise in it makes strands.
    turn = torch.atan2(a, b)
    curl = plane(style["curl"])
    wavy = (
        turn
        + 0.05 * torch.sin(c * 7.0 + turn * 3.0)
        + 0.16 * curl * torch.sin(c * 16.0 + turn * 5.0)
    )
    grain = noise(
        wavy * 0.42 + plane(t["hair_curl"]), c * (0.05 + 0.30 * curl) + plane(t["hair_volume"])
    ) * fineness(pixel)
    # The component of the half vector along the strand, which runs away from the pole within the
    # surface; highlights of hair depend on it as in the model of Kajiya and Kay (1989).
    nx, ny, nz = normal
    normal_pole = nx * plane(pole[:, 0]) + ny * plane(pole[:, 1]) + nz * plane(pole[:, 2])
    hn = nx * plane(half[:, 0]) + ny * plane(half[:, 1]) + nz * plane(half[:, 2])
    hp = plane((half * pole).sum(1))
    along = (hp - normal_pole * hn) * (1.0 - normal_pole * normal_pole).clamp(min=0.02).rsqrt()
    # Shifted along the strand, and a little differently from strand to strand.
    shifted = along + 0.10 * grain + 0.10
    shine = torch.exp(-(shifted * shifted) * 26.0) * hn.clamp(min=0.0) * (1.0 - 0.55 * curl)
    return Strands(tone(t, age, grain), shine * (1.0 + 0.3 * grain).clamp(min=0.0), grain)


def fineness(pixel: float) -> float:
    """Contrast of single strands, in (0, 1]; below 1 where a pixel is wider than a strand."""
    return min(1.0, 0.026 / pixel)


def tone(t: Traits, age: Tensor, grain: Tensor) -> Tensor:
    """Linear colour of hair, shape (b, 3, h, w), greying with age.

    `grain` (b, h, w) is the noise from strand to strand.
    """
    colour = t["hair"] * t["hair"]
    grey = smooth((age - 0.22 + 0.1 * t["hair_melanin"].clamp(-1.0, 1.0)) * 1.25)
    silver = torch.tensor([[0.33, 0.325, 0.32]], device=age.device)
    share = (plane(grey) * (1.05 + 0.35 * grain)).clamp(0.0, 0.95)
    mixed = torch.lerp(colour[:, :, None, None], silver[:, :, None, None], share[:, None])
    return mixed * (1.0 + 0.26 * grain[:, None]).clamp(min=0.25)
