"""Unit vectors, cosines, angles, and points on the sphere.

Everything that follows lives on the unit hypersphere, so the few operations here are written to
stay finite where the textbook forms are not: a zero vector has gradient 0, and the sine and the
angle have a finite slope where the cosine is exactly +1 or -1.
"""

import math

import torch
from torch import Tensor


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Scale vectors to length 1; a zero vector stays zero and passes no gradient.

    Parameters
    ----------
    vectors : Tensor of any shape, floating point
    dim : the axis that holds the coordinates

    Returns
    -------
    Tensor of the same shape and dtype.
    """
    # The plain form x / max(|x|, 1e-12) sends a gradient of 1e12 to a zero vector.
    limits = torch.finfo(vectors.dtype)
    # The root keeps gradients in range; float16 reaches so little below 1 that its root would take
    # 0.007 for zero.
    tiny = limits.tiny if vectors.dtype == torch.float16 else limits.tiny**0.5
    largest = vectors.detach().abs().amax(dim=dim, keepdim=True)
    is_zero = largest <= tiny
    scaled = vectors / torch.where(
        is_zero, 1.0, largest
    )  # keeps the squares of fp16 values in range
    squares = torch.where(is_zero, 1.0, (scaled * scaled).sum(dim=dim, keepdim=True))
    return torch.where(is_zero, 0.0, scaled / squares.sqrt())


def cosine(vectors: Tensor, centres: Tensor) -> Tensor:
    """Cosine of every vector with every centre.

    Parameters
    ----------
    vectors : Tensor of shape (b, d)
    centres : Tensor of shape (c, d)

    Returns
    -------
    Tensor of shape (b, c), within [-1, 1] up to rounding.
    """
    return unit(vectors) @ unit(centres).T


def sine(cosines: Tensor) -> Tensor:
    """``sin(theta) >= 0`` from ``cos(theta)``, with a finite slope at cos = +-1.

    Exact for every floating-point cosine but +-1 itself and its nearest neighbour, where the square
    root is replaced by a straight line through 0, of slope ``-2 c / sqrt(eps)`` instead of
    infinite. Values beyond +-1, which rounding produces, count as +-1; at exactly +-1 the slope is
    that of the line or 0, as PyTorch's version has the derivative of ``clamp`` at its bounds.
    """
    eps = torch.finfo(cosines.dtype).eps
    c = cosines.clamp(-1.0, 1.0)
    squared = 1.0 - c * c
    inside = squared > eps
    return torch.where(inside, torch.where(inside, squared, eps).sqrt(), squared / math.sqrt(eps))


def angle(cosines: Tensor) -> Tensor:
    """Angle in radians, in [0, pi], from a cosine; a finite slope everywhere (see `sine`)."""
    return torch.atan2(sine(cosines), cosines.clamp(-1.0, 1.0))


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians between vectors, accurate for tiny and for almost opposite angles.

    Uses ``2 atan2(|u - v|, |u + v|)`` for unit vectors u and v (W. Kahan, "How futile are mindless
    assessments of roundoff", section 12), where the arc cosine loses half of the digits.

    Parameters
    ----------
    a, b : Tensors of shapes (..., d) that broadcast

    Returns
    -------
    Tensor of shape (...), in [0, pi].
    """
    u, v = unit(a), unit(b)
    return 2.0 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))


def point_at(centre: Tensor, direction: Tensor, angle_rad: Tensor | float) -> Tensor:
    """The point reached from a unit `centre` by walking `angle_rad` along the sphere towards
    `direction`.

    Parameters
    ----------
    centre : Tensor of shape (..., d), unit length
    direction : Tensor of shape (..., d), not parallel to `centre`
    angle_rad : Tensor of shape (...) or a number

    Returns
    -------
    Tensor of shape (..., d), unit length, at that angle from `centre`.
    """
    tangent = unit(direction - (direction * centre).sum(-1, keepdim=True) * centre)
    a = torch.as_tensor(angle_rad, dtype=centre.dtype, device=centre.device).unsqueeze(-1)
    return torch.cos(a) * centre + torch.sin(a) * tangent


def cap_boundary(centre: Tensor, angle_rad: float, points: int = 181) -> Tensor:
    """The circle of points at `angle_rad` from a unit `centre` of shape (3,); shape (points, 3),
    closed.
    """
    helper = torch.eye(3, dtype=centre.dtype)[centre.abs().argmin()]
    e1 = unit(helper - (helper @ centre) * centre)
    e2 = torch.linalg.cross(centre, e1)
    t = torch.linspace(0.0, 2.0 * math.pi, points, dtype=centre.dtype).unsqueeze(-1)
    ring = torch.cos(t) * e1 + torch.sin(t) * e2
    circle: Tensor = math.cos(angle_rad) * centre + math.sin(angle_rad) * ring
    return circle


def fibonacci_sphere(points: int) -> Tensor:
    """Evenly spread unit vectors, shape (points, 3), float64: the golden-angle spiral from pole to
    pole.
    """
    if points < 1:
        raise ValueError(f"fibonacci_sphere needs at least 1 point, got {points}")
    i = torch.arange(points, dtype=torch.float64)
    z = 1.0 - (2.0 * i + 1.0) / points
    longitude = i * (math.pi * (3.0 - math.sqrt(5.0)))
    r = (1.0 - z * z).sqrt()
    return torch.stack([r * torch.cos(longitude), r * torch.sin(longitude), z], dim=-1)
