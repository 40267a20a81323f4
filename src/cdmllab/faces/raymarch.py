"""March parallel rays towards heads, whose surfaces are a radius over directions."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cdmllab.faces.head import HeadShape

HALF_VIEW = 1.30  # half the width of the image; the unit is half the height of a head
_STEPS = 9
# Length of a step as a share of the gap |p| - R. It starts below 1, because the gap overstates the
# distance to the surface where R is steep.
_STRIDE = 0.8
_FASTEST = 2.0
_CAREFUL = 0.6


@dataclass(frozen=True)
class Camera:
    """The parallel rays of b images, in head space.

    The ray of the pixel at (X, Y) is ``right X + up Y + origin - t towards``.

    Attributes
    ----------
    right, up, towards, origin : shape (b, 3); `towards` points at the viewer
    X, Y : image coordinates of the pixels' centres, of shapes (1, 1, w) and (1, h, 1), or (b, 1, w)
        and (b, h, 1) in a window
    pixel : width of a pixel
    """

    right: Tensor
    up: Tensor
    towards: Tensor
    origin: Tensor
    X: Tensor
    Y: Tensor
    pixel: float

    def rows(self, which: Tensor) -> "Camera":
        """The cameras of some of the images."""
        right, up, towards, origin = (
            part[which] for part in (self.right, self.up, self.towards, self.origin)
        )
        return Camera(right, up, towards, origin, self.X, self.Y, self.pixel)

    def window(self, point: tuple[float, float, float], reach: float) -> "tuple[Window, Camera]":
        """The square within `reach` of a point of the head, and cameras for this square only."""
        size = self.X.shape[2]
        # The side is the same for all images, so that their windows are one tensor.
        side = min(size, int(2.0 * reach / self.pixel) + 2)
        away = torch.tensor(point, device=self.origin.device) - self.origin
        across, along = (away * self.right).sum(1), (away * self.up).sum(1)
        # Rows run downwards and image coordinates upwards,
        # hence the minus; windows stay in the image.
        left, top = (
            ((place + HALF_VIEW - reach) / self.pixel).floor().clamp(0, size - side).long()
            for place in (across, -along)
        )
        ticks = torch.arange(side, device=left.device)
        window = Window(top[:, None] + ticks, left[:, None] + ticks)
        X, Y = self.X[0, 0][window.columns][:, None, :], self.Y[0, :, 0][window.rows][:, :, None]
        return window, replace(self, X=X, Y=Y)

    def affine(self, direction: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """``direction . p + offset`` at the points t = 0 of all rays: (b, h, w) from (b, 3)."""
        a, b, c = (_plane((direction * part).sum(1)) for part in (self.right, self.up, self.origin))
        return a * self.X + (
            b * self.Y + (c + (_plane(offset) if isinstance(offset, Tensor) else offset))
        )


class Window(NamedTuple):
    """A square in each image, at different places; pixel numbers of shape (b, side)."""

    rows: Tensor
    columns: Tensor

    def cut(self, images: Tensor) -> Tensor:
        """A copy of the window from (b, h, w) or (b, 3, h, w)."""
        return (
            images.movedim(-3, -1)[self._places()].movedim(-1, 1)
            if images.ndim == 4
            else images[self._places()]
        )

    def put(self, images: Tensor, part: Tensor) -> None:
        """Write a window back into the images, in place; the inverse of `cut`."""
        if images.ndim == 4:
            images.movedim(1, -1)[self._places()] = part.movedim(1, -1)
        else:
            images[self._places()] = part

    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        image = torch.arange(len(self.rows), device=self.rows.device)[:, None, None]
        return image, self.rows[:, :, None], self.columns[:, None, :]


def _plane(x: Tensor) -> Tensor:
    return x[:, None, None]


def camera(yaw: Tensor, pitch: Tensor, roll: Tensor, size: int) -> Camera:
    """The camera for head angles in degrees, each of shape (b,).

    Positive angles turn the face to the right of the image, down, and clockwise.
    """
    y, p, r = (a * (torch.pi / 180.0) for a in (yaw, pitch, roll))
    cy, sy, cp, sp, cr, sr = y.cos(), y.sin(), p.cos(), p.sin(), r.cos(), r.sin()
    # Rows of the rotation from head space to image space: first yaw, then pitch, then roll.
    row_x = torch.stack([cy, torch.zeros_like(cy), sy], 1)
    row_y = torch.stack([sp * sy, cp, -sp * cy], 1)
    row_z = torch.stack([-cp * sy, sp, cp * cy], 1)
    right = cr[:, None] * row_x + sr[:, None] * row_y
    up = -sr[:, None] * row_x + cr[:, None] * row_y
    ticks = ((torch.arange(size, device=yaw.device) + 0.5) / size * 2.0 - 1.0) * HALF_VIEW
    pivot = torch.tensor([0.0, -0.30, 0.03], device=yaw.device)
    # Heads turn about the neck: the pivot keeps its place in the image, whose centre is a little
    # below the eyes.
    origin = pivot - up * (pivot[1] + 0.03)
    return Camera(
        right,
        up,
        row_z,
        origin,
        ticks[None, None, :],
        -ticks[None, :, None],
        2.0 * HALF_VIEW / size,
    )


@dataclass(frozen=True)
class Hit:
    """Where the rays meet the heads; every field has shape (b, h, w).

    Attributes
    ----------
    x, y, z : the point in head space
    nx, ny, nz : the unit normal there
    depth : along the view, larger is nearer
    cover : share of the pixel that the head fills
    cavity, field : from `HeadShape.detail`
    """

    x: Tensor
    y: Tensor
    z: Tensor
    nx: Tensor
    ny: Tensor
    nz: Tensor
    depth: Tensor
    cover: Tensor
    cavity: Tensor
    field: Tensor


def sample(texture: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Sample (b, c, rows, columns) at directions s, v of shape (b, h, w): shape (b, c, h, w)."""
    return F.grid_sample(
        texture, torch.stack([s, v], dim=-1), "bilinear", "border", align_corners=True
    )


def directions(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Directions s, v of points, their squared distance from the axis, and from the centre."""
    flat2 = x * x + z * z
    far = torch.addcmul(flat2, y, y).sqrt_()
    cosine = z * (flat2 + 1e-12).rsqrt_()
    # sin(azimuth / 2) by the half-angle formula, which needs no arctangent.
    s = torch.copysign(cosine.mul_(-0.5).add_(0.5).clamp_(min=0.0).sqrt_(), x)
    return s, y / far.clamp(min=1e-6), flat2, far


def march(head: HeadShape, c: Camera) -> Hit:
    """Follow every ray to the head, in a fixed number of steps.

    The gap |p| - R(direction of p) is positive outside the head and approximates the distance to
    its surface. Each ray keeps the point with the smallest gap: its hit, or its closest approach.
    """
    # Points at t = 0, and the common direction of the parallel rays.
    foot = [c.affine(axis) for axis in _axes(c)]
    dx, dy, dz = (_plane(-c.towards[:, i]) for i in range(3))
    # Start where the ray enters the sphere around the head, or nearest to it if it misses.
    bound = _plane(head.radius.amax(dim=(1, 2, 3)))
    # A quadratic equation for |foot + t d| = bound, with d of length 1.
    middle = foot[0] * dx + foot[1] * dy + foot[2] * dz
    squared = foot[0] ** 2 + foot[1] ** 2 + foot[2] ** 2
    t = -middle - (middle * middle - squared + bound * bound).clamp_(min=0.0).sqrt_()
    nearest, before, step = torch.full_like(t, 9.0), torch.full_like(t, 9.0), torch.zeros_like(t)
    nearest_t = t
    for _ in range(_STEPS):
        z = foot[2] + t * dz
        s, v, _, far = directions(foot[0] + t * dx, foot[1] + t * dy, z)
        gap = far - sample(head.radius, s, v)[:, 0]
        nearest_t = torch.where(gap.abs() < nearest.abs(), t, nearest_t)
        nearest = torch.minimum(gap, nearest)
        # A secant step, so that rays that graze the surface converge as fast as the others.
        rate = (before - gap) / torch.where(step == 0.0, 1.0, step)
        pace = (1.0 / rate.clamp(min=1e-2)).clamp_(_STRIDE, _FASTEST)
        # A ray that crosses the face from the side takes short steps, or it would skip the nose.
        across = (z > 0.55 * far) & (middle + t > -0.65 * far)
        pace = torch.where(across, _CAREFUL, pace)
        before, step = gap, pace * gap
        ahead = -(middle + t)  # from here to the closest approach to the centre
        t = t + step
    # A ray that has not arrived yet: extrapolate the gap to its closest approach, where the rate at
    # which it shrinks has fallen to 0.
    ahead.clamp_(min=0.0)
    coming = gap - 0.5 * torch.minimum(rate.clamp_(min=0.0), 1.2 * ahead / far) * ahead
    nearest = torch.where((step > 0) & (nearest < 0.06), torch.minimum(nearest, coming), nearest)
    x, y, z = foot[0] + nearest_t * dx, foot[1] + nearest_t * dy, foot[2] + nearest_t * dz
    s, v, flat2, far = directions(x, y, z)
    slope_a, slope_v, cavity, field = sample(head.detail, s, v).unbind(1)
    # The gradient of |p| - R(azimuth, v).
    a = slope_a / flat2.clamp(min=1e-3)
    over = 1.0 / far
    w = slope_v * over * over * over
    nx = x * over - a * z + w * x * y
    ny = y * over - w * flat2
    nz = z * over + a * x + w * y * z
    length = (nx * nx + ny * ny + nz * nz).rsqrt()
    # The gap divided by the length of the gradient is a distance; the edge is one pixel wide.
    cover = (1.0 - nearest.clamp(min=0.0) * length.clamp(min=0.5) / c.pixel).clamp_(0.0, 1.0)
    return Hit(x, y, z, nx * length, ny * length, nz * length, -nearest_t, cover, cavity, field)


def _axes(c: Camera) -> list[Tensor]:
    eye = torch.eye(3, device=c.right.device)
    return [eye[i].expand_as(c.right) for i in range(3)]


def shadow(head: HeadShape, hit: Hit, light: Tensor) -> Tensor:
    """Share of the light that the head itself lets through to each point: (b, h, w) in [0, 1].

    `light` (b, 3) is the direction towards the lamp. Four samples along it give soft shadows.
    """
    lx, ly, lz = (_plane(light[:, i]) for i in range(3))
    open_ = torch.ones_like(hit.x)
    # Distance along the light, and how sharp the shadow is that falls from there.
    for far_t, hardness in ((0.05, 9.0), (0.11, 6.0), (0.20, 4.0), (0.36, 3.0)):
        s, v, _, far = directions(hit.x + far_t * lx, hit.y + far_t * ly, hit.z + far_t * lz)
        gap = far - sample(head.radius, s, v)[:, 0]
        # An entirely free point is 1, one just at the surface 0.75.
        open_ = torch.minimum(open_, (0.75 + hardness * gap / (far_t * 6.0)).clamp_(0.0, 1.0))
    return open_
