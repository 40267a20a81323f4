"""The mean head: a skull ellipsoid joined to a face, as a radius over directions.

A direction is (s, v). s = sin(azimuth / 2) is in [-1, 1], 0 in front and +-1 at the back, which
gives the face more texels than the nape; v = sin(elevation) is in [-1, 1]. The unit of length is
half the height of a head: the chin is at y = -1, the crown at +1.
"""

import functools

import torch
from torch import Tensor

# The face without nose, lips and eyes: half width, and depth in front of the axis, at some heights.
_HEIGHT = (-1.08, -1.03, -0.97, -0.88, -0.76, -0.62, -0.45, -0.25, -0.05, 0.10, 0.22, 0.40, 0.60)
_WIDTH = (0.13, 0.21, 0.275, 0.36, 0.445, 0.525, 0.590, 0.640, 0.662, 0.668, 0.665, 0.64, 0.56)
_DEPTH = (0.60, 0.73, 0.80, 0.825, 0.80, 0.83, 0.84, 0.82, 0.80, 0.84, 0.865, 0.84, 0.72)


def texture_size(size: int) -> tuple[int, int]:
    """Rows (v) and columns (s) of the direction textures for images of `size` pixels."""
    # Small images need fewer texels: there is still more than one for each pixel of the face.
    return (64, 80) if size <= 48 else (112, 144)


def grid(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sines of elevation, shape (rows,), and azimuths in radians, shape (columns,), of texels.

    Both include their ends.
    """
    v = torch.linspace(-1.0, 1.0, rows, device=device)
    s = torch.linspace(-1.0, 1.0, columns, device=device)
    return v, 2.0 * torch.asin(s.clamp(-1.0, 1.0))


def _profile(y: Tensor, values: tuple[float, ...]) -> Tensor:
    """Interpolate a table over `_HEIGHT` linearly."""
    heights = torch.tensor(_HEIGHT, dtype=y.dtype)
    table = torch.tensor(values, dtype=y.dtype)
    place = torch.searchsorted(heights, y.contiguous()).clamp(1, len(values) - 1)
    share = ((y - heights[place - 1]) / (heights[place] - heights[place - 1])).clamp(0.0, 1.0)
    return torch.lerp(table[place - 1], table[place], share)


def _inside_face(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    width = _profile(y, _WIDTH)
    # Behind the axis the face has a constant depth; the exponent above 2 makes it a little boxy.
    depth = torch.where(z > 0, _profile(y, _DEPTH), 0.55)
    ring = (x.abs() / width) ** 2.15 + (z.abs() / depth) ** 2.15 <= 1.0
    above_jaw = y > -1.06 + 0.34 * (0.72 - z).clamp(min=0.0)  # the jaw rises towards the ear
    return ring & above_jaw & (y < 0.62)


@functools.lru_cache(maxsize=8)
def mean_radius(rows: int, columns: int, device: torch.device) -> Tensor:
    """Radius of the mean head in every direction: shape (rows, columns)."""
    v, azimuth = (a.double() for a in grid(rows, columns, torch.device("cpu")))
    # Unit vectors in all directions.
    level = (1.0 - v * v).clamp(min=0.0).sqrt()[:, None]
    x, z, y = level * azimuth.sin(), level * azimuth.cos(), v[:, None].expand(rows, columns)
    # The skull: |(p - centre) / axes| = 1, solved for p = t d.
    axes, centre = (0.695, 0.80, 0.90), (0.0, 0.205, -0.045)
    way = torch.stack([x, y, z]) / torch.tensor(axes, dtype=v.dtype)[:, None, None]
    middle = (torch.tensor(centre, dtype=v.dtype) / torch.tensor(axes, dtype=v.dtype))[
        :, None, None
    ]
    a, b = (way * way).sum(0), (way * middle).sum(0)
    c = (middle * middle).sum() - 1.0
    skull = (b + (b * b - a * c).sqrt()) / a
    # The face has no closed form: the last of many samples along a direction that is inside it.
    face = torch.full_like(skull, 0.3)
    for t in torch.linspace(0.3, 1.5, 241, dtype=torch.float64):  # steps of 0.005
        face = torch.where(_inside_face(x * t, y * t, z * t), t, face)
    # A smooth maximum joins the two without a crease.
    k = 24.0
    radius = torch.logaddexp(k * skull, k * face) / k
    return _soften(radius, columns).float().to(device)


def _soften(radius: Tensor, columns: int) -> Tensor:
    """Blur the radius a little in both directions, to remove the steps of the sampled face."""
    sigma = 0.0125 * columns
    reach = int(3 * sigma) + 1
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=radius.dtype) / sigma) ** 2)
    taps = taps / taps.sum()
    # Blur the columns and transpose, twice: both directions, and the original layout.
    for _ in range(2):
        wide = torch.nn.functional.pad(radius[None], (reach, reach), mode="replicate")[0]
        radius = (wide.unfold(1, 2 * reach + 1, 1) @ taps).T
    return radius.contiguous()
