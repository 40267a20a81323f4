"""The shape of a head: the radius of the mean head plus Gaussian bumps, over all directions.

The bumps are separable in elevation and azimuth, so that all of them cost one matrix product per
head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdmllab.faces import template
from cdmllab.faces.identity import Traits

Pose = dict[str, Tensor]  # movements of an expression, gaze and age, each of shape (b,)


@dataclass(frozen=True)
class HeadShape:
    """The surfaces of b heads, as textures over the directions of `cdmllab.faces.template`.

    Attributes
    ----------
    radius : distance from the centre, shape (b, 1, rows, columns)
    detail : shape (b, 4, rows, columns): derivatives of the radius by the azimuth and by v, the
        cavity (how far a point is below its surroundings) and the hair field
    """

    radius: Tensor
    detail: Tensor


class Bumps:
    """Gaussian bumps at points of a head, each with four widths: two sides, above and below."""

    def __init__(self, batch: int, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self.rows: list[list[Tensor]] = []

    def add(
        self,
        x: Tensor | float,
        y: Tensor | float,
        z: Tensor | float,
        wide: Tensor | float,
        up: Tensor | float,
        height: Tensor | float,
        down: Tensor | float | None = None,
        outer: Tensor | float | None = None,
        pair: bool = False,
    ) -> None:
        """Add a bump of `height` in the direction of the point (x, y, z).

        Parameters
        ----------
        wide, outer : standard deviations towards the middle of the face and away from it
        up, down : standard deviations above and below the point
        pair : whether to add the mirror image too
        """
        down = up if down is None else down
        outer = wide if outer is None else outer
        row = [
            torch.as_tensor(n, dtype=torch.float32, device=self.device).expand(self.batch)
            for n in (x, y, z, wide, outer, up, down, height)
        ]
        self.rows.append(row)
        # Mirrored, the width towards the middle is on the other side.
        if pair:
            self.rows.append([-row[0], row[1], row[2], row[4], row[3], row[5], row[6], row[7]])

    def on(self, v: Tensor, azimuth: Tensor) -> Tensor:
        """Sum of the bumps in every direction: shape (b, rows, columns)."""
        x, y, z, west, east, up, down, height = (
            torch.stack(c, dim=1)[:, :, None] for c in zip(*self.rows, strict=True)
        )
        flat = (x * x + z * z).sqrt()  # distance from the vertical axis
        far = (flat * flat + y * y).sqrt()  # distance from the centre
        across = azimuth - torch.atan2(x, z)  # difference in azimuth
        along = (v - y / far) * far * far / flat  # difference in y at the point, to first order
        across = across * flat  # as a length
        # Each direction has its own width on either side of the point.
        columns = torch.exp(-0.5 * (across / torch.where(across < 0, west, east)) ** 2) * height
        rows = torch.exp(-0.5 * (along / torch.where(along < 0, down, up)) ** 2)
        return rows.transpose(1, 2) @ columns  # [b, rows, columns], summed over bumps


def bumps(t: Traits, pose: Pose) -> Bumps:
    """The bumps of heads with traits `t`, under an expression and an age."""
    male, age = t["male"] - 0.5, pose["age"]
    b = Bumps(len(male), male.device)
    ex, ey = eye_centre(t)
    # Skull and jaw
    b.add(0.52, -0.64, 0.15, 0.22, 0.22, 0.034 * t["jaw_width"] + 0.060 * male, pair=True)
    b.add(0.0, -1.0, 0.74, 0.20, 0.14, 0.03 * t["chin_length"] + 0.03 * male)
    b.add(0.20, -0.96, 0.70, 0.12, 0.14, 0.025 * t["chin_width"] + 0.05 * male, pair=True)
    b.add(0.0, -0.90, 0.80, 0.11, 0.085, 0.045 + 0.012 * t["chin_length"])
    b.add(0.0, -0.93, 0.80, 0.02, 0.05, -0.03 * (t["chin_cleft"] - 0.9).clamp(0.0, 1.0))
    b.add(0.0, -0.775, 0.80, 0.13, 0.045, -0.03)
    b.add(
        0.46,
        -0.20,
        0.60,
        0.13,
        0.085,
        0.035 + 0.016 * t["cheekbone"] + 0.035 * pose["smile"],
        pair=True,
    )
    b.add(
        0.42,
        -0.48,
        0.62,
        0.16,
        0.15,
        0.030 * t["cheek_full"] - 0.028 * age - 0.01 * male,
        pair=True,
    )
    b.add(0.66, 0.20, 0.30, 0.14, 0.20, -0.02 + 0.015 * t["temple"], pair=True)
    b.add(0.0, 0.52, 0.74, 0.36, 0.20, 0.03 * t["forehead"] - 0.03 * male)
    b.add(0.46, -0.80, 0.48, 0.11, 0.11, 0.05 * age, pair=True)
    # Brow ridge, sockets, lids
    b.add(ex, 0.165, 0.78, 0.16, 0.055, 0.022 + 0.014 * t["brow_ridge"] + 0.045 * male, pair=True)
    b.add(0.0, 0.17, 0.84, 0.09, 0.07, 0.02 + 0.01 * t["brow_ridge"] + 0.02 * male)
    b.add(
        ex - 0.02,
        ey + 0.02,
        0.72,
        0.12,
        0.10,
        -0.062 - 0.014 * t["eye_depth"] - 0.01 * age,
        pair=True,
    )
    b.add(ex, ey - 0.005, 0.70, 0.095, 0.070, 0.036 + 0.006 * t["eye_size"], pair=True)
    b.add(
        ex,
        ey - 0.13,
        0.72,
        0.10,
        0.030,
        0.012 * (t["eye_bags"] - 0.3).clamp(0.0, 2.0) + 0.022 * age,
        pair=True,
    )
    # Nose
    tip_y = nose_tip(t)
    wing = nose_wing(t)
    depth = 0.198 + 0.026 * t["nose_depth"] + 0.03 * male
    crook = 0.008 * t["nose_crook"]
    b.add(crook, tip_y + 0.30, 0.82, 0.055, 0.11, 0.055 + 0.026 * t["nose_bridge"], down=0.12)
    b.add(
        crook, tip_y + 0.13, 0.85, 0.062, 0.10, 0.60 * depth + 0.014 * t["nose_bridge"], down=0.09
    )
    b.add(
        0.0,
        tip_y,
        0.86,
        0.070 + 0.006 * t["nose_width"],
        0.085,
        0.88 * depth,
        down=0.048 - 0.006 * t["nose_tip"],
    )
    b.add(wing, tip_y - 0.025, 0.83, 0.048, 0.050, 0.34 * depth, down=0.040, pair=True)
    b.add(0.0, tip_y - 0.065, 0.86, 0.035, 0.03, 0.22 * depth, down=0.03)
    b.add(0.055, tip_y - 0.075, 0.90, 0.024, 0.016, -0.035, down=0.014, pair=True)
    # Mouth
    my, half = mouth_centre(t), mouth_half_width(t, pose)
    full_u, full_l = lip_heights(t, age)
    opening = pose["open"]
    b.add(0.0, my - 0.02, 0.84, 0.24, 0.13, 0.028)
    b.add(0.045, my + 0.04, 0.85, 0.055, 0.030, 0.24 * full_u + 0.012, outer=0.11, pair=True)
    b.add(0.0, my - 0.055 - 0.10 * opening, 0.85, 0.115, 0.036, 0.42 * full_l + 0.008)
    b.add(0.0, my - 0.05 * opening, 0.85, 0.14, 0.010 + 0.05 * opening, -0.02 - 0.05 * opening)
    b.add(
        half + 0.03, my + pose["corner"], 0.74, 0.04, 0.05, -0.022 - 0.02 * pose["smile"], pair=True
    )
    b.add(0.0, my + 0.13, 0.86, 0.024, 0.045, -0.014 - 0.006 * t["philtrum"])
    b.add(0.0, -1.0, 0.70, 0.25, 0.10, 0.06 * opening)
    # Folds from the nose to the mouth
    fold = 0.006 + 0.022 * pose["smile"] + 0.022 * age
    b.add(wing + 0.10, tip_y - 0.16, 0.76, 0.022, 0.075, -fold, outer=0.05, pair=True)
    b.add(wing + 0.19, tip_y - 0.10, 0.72, 0.09, 0.09, 0.5 * fold + 0.02 * pose["smile"], pair=True)
    return b


def _plane(x: Tensor) -> Tensor:
    return x[:, None, None]


def eye_centre(t: Traits) -> tuple[Tensor, Tensor]:
    """Position x, y of the eye that is on the right in the image, each of shape (b,)."""
    return 0.282 + 0.021 * t["eye_spacing"], torch.full_like(t["male"], 0.015)


def nose_tip(t: Traits) -> Tensor:
    """The y of the tip of the nose, shape (b,)."""
    return -0.325 - 0.036 * t["nose_length"] + 0.014 * t["nose_tip"]


def nose_wing(t: Traits) -> Tensor:
    """Half the width of the nose at its wings, shape (b,)."""
    return 0.103 + 0.017 * t["nose_width"] + 0.014 * (t["male"] - 0.5) + 0.006 * t["melanin"]


def mouth_centre(t: Traits) -> Tensor:
    """The y of the line between the lips, shape (b,)."""
    return -0.605 + 0.024 * t["mouth_height"] - 0.012 * t["nose_length"]


def mouth_half_width(t: Traits, pose: Pose) -> Tensor:
    """Half the width of the mouth, shape (b,)."""
    return (0.238 + 0.027 * t["mouth_width"] + 0.01 * (t["male"] - 0.5)) * (1.0 + pose["widen"])


def lip_heights(t: Traits, age: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the upper and the lower lip, each of shape (b,)."""
    thin = (1.0 - 0.35 * age) * (1.20 - 0.34 * t["male"]) * (1.0 + 0.08 * t["melanin"])
    return (0.060 + 0.015 * t["lip_upper"]) * thin, (0.080 + 0.017 * t["lip_lower"]) * thin


def build(
    t: Traits, pose: Pose, shell: Tensor, field: Tensor, rows: int, columns: int
) -> HeadShape:
    """Build the surfaces of heads: the mean head, the bumps, and the hair on top.

    `shell` is the thickness of the hair and `field` its angle from the hairline, both of shape
    (b, rows, columns), see `cdmllab.faces.hair.shell`.
    """
    device = shell.device
    v, azimuth = template.grid(rows, columns, device)
    # Faces are widened at the sides and lengthened at chin and crown.
    across = ((1.0 - v * v)[:, None] * azimuth.sin() ** 2)[None]
    scale = 1.0 + _plane(0.042 * t["face_width"] + 0.03 * (t["male"] - 0.5)) * across
    scale = (
        scale + _plane(0.030 * t["face_length"] + 0.02 * (t["male"] - 0.5)) * (v * v)[None, :, None]
    )
    skin = template.mean_radius(rows, columns, device) * scale + bumps(t, pose).on(v, azimuth)
    radius = skin + shell
    # Central differences by s, converted to the azimuth: s = sin(azimuth / 2).
    d_s = torch.nn.functional.pad(
        (radius[:, :, 2:] - radius[:, :, :-2]) * (0.25 * (columns - 1)), (1, 1), mode="replicate"
    )
    # Neighbouring rows are 2 / (rows - 1) apart in v, which gives the factor; ends repeat.
    d_v = (radius[:, 2:] - radius[:, :-2]) * (0.25 * (rows - 1))
    d_v = torch.cat([d_v[:, :1], d_v, d_v[:, -1:]], dim=1)
    d_azimuth = d_s * (0.5 * torch.cos(0.5 * azimuth))
    # The local mean minus the radius: positive in hollows. Larger textures average more texels.
    soft = torch.nn.functional.avg_pool2d(
        radius[:, None],
        (9, 9) if rows > 80 else (5, 5),
        1,
        (4, 4) if rows > 80 else (2, 2),
        count_include_pad=False,
    )[:, 0]
    detail = torch.stack([d_azimuth, d_v, soft - radius, field], dim=1)
    return HeadShape(radius[:, None], detail)
