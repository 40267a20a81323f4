"""Unit vectors, cosines, angles, and points on the sphere.

The operations stay finite where the textbook formulas do not: a zero vector has gradient 0, and the
sine and the angle have a finite slope where the cosine is exactly +1 or -1.
"""

import math

import torch
from torch import Tensor


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Scale vectors to length 1; a zero vector stays zero and has gradient 0.

    Parameters
    ----------
    vectors : Tensor of any shape, floating point
    dim : the axis of the coordinates

    Returns
    -------
    Tensor of the same shape and dtype.
    """
    # The usual form x / max(|x|, 1e-12) gives a zero vector a gradient of 1e12.
    limits = torch.finfo(vectors.dtype)
    # A vector counts as zero below this length. The square root keeps the gradient, 1 / length, in
    # range. In float16 the root would be 0.008, too long to be zero.
    tiny = limits.tiny if vectors.dtype == torch.float16 else limits.tiny**0.5
    largest = vectors.detach().abs().amax(dim=dim, keepdim=True)
    is_zero = largest <= tiny
    # Dividing by the largest coordinate first keeps the squares in range, also in float16. The
    # quotient does not depend on `largest`, so it can be detached.
    scaled = vectors / torch.where(is_zero, 1.0, largest)
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
    """``sin(theta) >= 0`` from ``c = cos(theta)``, with a finite slope at c = +-1.

    The result is exact for every floating-point cosine except +-1 and its nearest neighbour. There
    the square root is replaced by a straight line through 0, with the slope ``-2 c / sqrt(eps)``
    instead of an infinite one. Values beyond +-1, which occur by rounding, count as +-1; at exactly
    +-1 the slope is that of the line or 0, depending on how the version of PyTorch defines the
    derivative of ``clamp`` at its bounds.
    """
    eps = torch.finfo(cosines.dtype).eps
    c = cosines.clamp(-1.0, 1.0)
    squared = 1.0 - c * c
    inside = squared > eps  # not +-1 or its neighbour
    # The inner `where` keeps sqrt away from 0: its infinite slope times the 0 of the outer `where`
    # would be NaN.
    return torch.where(inside, torch.where(inside, squared, eps).sqrt(), squared / math.sqrt(eps))


def angle(cosines: Tensor) -> Tensor:
    """Angle in radians, in [0, pi], from a cosine; its slope is finite, as in `sine`."""
    return torch.atan2(sine(cosines), cosines.clamp(-1.0, 1.0))


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians between vectors, accurate also near 0 and pi.

    For unit vectors u and v it is ``2 atan2(|u - v|, |u + v|)`` (W. Kahan, "How Futile are Mindless
    Assessments of Roundoff in Floating-Point Computation?", section 12,
    https://people.eecs.berkeley.edu/~wkahan/Mindless.pdf). The arc cosine loses half of the digits
    there.

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
    """The point at `angle_rad` from a unit `centre`, along the great circle towards `direction`.

    Parameters
    ----------
    centre : Tensor of shape (..., d), unit length
    direction : Tensor of shape (..., d), not parallel to `centre`
    angle_rad : Tensor of shape (...) or a float, radians

    Returns
    -------
    Tensor of shape (..., d), unit length, at that angle from `centre`.
    """
    # The part of `direction` that is orthogonal to `centre`.
    tangent = unit(direction - (direction * centre).sum(-1, keepdim=True) * centre)
    a = torch.as_tensor(angle_rad, dtype=centre.dtype, device=centre.device).unsqueeze(-1)
    return torch.cos(a) * centre + torch.sin(a) * tangent


def cap_boundary(centre: Tensor, angle_rad: float, points: int = 181) -> Tensor:
    """The closed circle at `angle_rad` from a unit `centre` of shape (3,); shape (points, 3)."""
    # The coordinate axis furthest from `centre` is never parallel to it.
    helper = torch.eye(3, dtype=centre.dtype)[centre.abs().argmin()]
    # e1 and e2 are an orthonormal basis of the plane that is orthogonal to `centre`.
    e1 = unit(helper - (helper @ centre) * centre)
    e2 = torch.linalg.cross(centre, e1)
    t = torch.linspace(0.0, 2.0 * math.pi, points, dtype=centre.dtype).unsqueeze(-1)
    ring = torch.cos(t) * e1 + torch.sin(t) * e2
    circle: Tensor = math.cos(angle_rad) * centre + math.sin(angle_rad) * ring
    return circle


def fibonacci_sphere(points: int) -> Tensor:
    """Evenly spread unit vectors on a golden-angle spiral; shape (points, 3), float64."""
    if points < 1:
        raise ValueError(f"fibonacci_sphere needs at least 1 point, got {points}")
    i = torch.arange(points, dtype=torch.float64)
    # The middles of equal steps in height: bands of equal height have equal area on a sphere.
    z = 1.0 - (2.0 * i + 1.0) / points
    longitude = i * (math.pi * (3.0 - math.sqrt(5.0)))  # the golden angle, 2.4 rad
    r = (1.0 - z * z).sqrt()
    return torch.stack([r * torch.cos(longitude), r * torch.sin(longitude), z], dim=-1)
