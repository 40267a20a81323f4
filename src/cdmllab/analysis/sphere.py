"""How points lie on the sphere: how near their neighbours are, how even they could lie, how many
dimensions they use.

Two references stand beside a learned arrangement: directions drawn at random, and the most even
arrangement there is.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.geometry import unit

Floats = NDArray[np.float64]


def nearest_deg(points: ArrayLike) -> Floats:
    """The angle of each point to the nearest other one, degrees.

    Parameters
    ----------
    points : shape (n, d), of any length; n of 2 or more

    Returns
    -------
    Array of shape (n,).
    """
    p = torch.as_tensor(points).detach().double()
    if p.ndim != 2 or len(p) < 2:
        raise ValueError(f"points must have shape (n, d) with n of 2 or more, got {tuple(p.shape)}")
    cosines = unit(p) @ unit(p).T
    nearest: Floats = torch.rad2deg(
        torch.acos(cosines.fill_diagonal_(-1.0).amax(dim=1).clamp(-1.0, 1.0))
    ).numpy()
    return nearest


def bound_deg(count: int, dim: int) -> float:
    """An angle, degrees, that the nearest two of `count` points in `dim` dimensions cannot exceed
    (Rankin, 1955).

    Up to ``dim + 1`` points can form a simplex, and the bound is reached: arccos(-1 / (count - 1)).
    Of more, two are always within 90 degrees, which can be reached by up to ``2 dim`` points.
    """
    if count < 2 or dim < 2:
        raise ValueError(f"a bound needs 2 points and 2 dimensions or more, got {count} and {dim}")
    return math.degrees(math.acos(-1.0 / (count - 1))) if count <= dim + 1 else 90.0


def at_random(count: int, dim: int, *, seed: int = 0) -> Tensor:
    """Directions drawn evenly from the sphere; shape (count, dim), float64."""
    generator = torch.Generator().manual_seed(seed)
    return unit(torch.randn(count, dim, generator=generator, dtype=torch.float64))


def most_even(count: int, dim: int, *, seed: int = 0, steps: int = 1200) -> Tensor:
    """Points that an optimiser has pushed as far apart as it could; shape (count, dim), float64.

    They repel each other, at first all, in the end only nearest neighbours: minimised is log sum
    exp(k cos), with k rising from step to step. There is no promise that nothing is more even; for
    the platonic solids it finds them.

    Parameters
    ----------
    count, dim : how many points in how many dimensions
    seed : of the directions that are begun with
    steps : of the optimiser
    """
    with torch.enable_grad():
        x = at_random(count, dim, seed=seed).requires_grad_()
        optimiser = torch.optim.Adam([x])
        itself = torch.full((count,), math.inf, dtype=torch.float64).diag()
        for step in range(steps):
            share = step / max(steps - 1, 1)
            sharpness = 4.0 * 500.0**share
            optimiser.param_groups[0]["lr"] = 0.05 * 0.002**share
            p = unit(x)
            energy = torch.logsumexp((sharpness * (p @ p.T) - itself).flatten(), 0) / sharpness
            optimiser.zero_grad()
            energy.backward()
            optimiser.step()
    return unit(x.detach())


def chance_density(angle_deg: ArrayLike, dim: int) -> Floats:
    """The density, per degree, of the angle between two random directions in `dim` dimensions.

    It is proportional to sin(angle)^(dim - 2): around 90 degrees, and the narrower the more
    dimensions there are.

    Parameters
    ----------
    angle_deg : shape (n,), degrees in [0, 180]
    dim : 2 or more
    """
    if dim < 2:
        raise ValueError(f"directions need 2 dimensions or more, got {dim}")
    theta = np.radians(np.asarray(angle_deg, dtype=np.float64))
    scale = math.exp(math.lgamma(dim / 2) - math.lgamma((dim - 1) / 2)) / math.sqrt(math.pi)
    density: Floats = scale * np.sin(theta) ** (dim - 2) * math.pi / 180.0
    return density


def spectrum(embeddings: ArrayLike) -> Floats:
    """Which share of the variance of directions lies along each principal direction, falling; shape
    (min(n, d),).

    Parameters
    ----------
    embeddings : shape (n, d); lengths are dropped, and the mean direction is taken away
    """
    x = unit(torch.as_tensor(embeddings).detach().double())
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(
            f"embeddings must have shape (n, d) with n of 2 or more, got {tuple(x.shape)}"
        )
    variance = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    shares: Floats = (variance / variance.sum()).numpy()
    return shares


def effective_dim(shares: ArrayLike) -> float:
    """How many equal shares would be as spread out as these: 1 / sum of squares, between 1 and
    their number.
    """
    p = np.asarray(shares, dtype=np.float64)
    return float(1.0 / np.square(p / p.sum()).sum())


def aligning_rotation(points: ArrayLike, onto: ArrayLike) -> Floats:
    """The orthogonal matrix that brings points as near as possible to others, in least squares.

    Networks trained twice put the same classes at different places on the sphere; after this
    rotation (or reflection) their globes can be compared by eye. Solved by the singular value
    decomposition of Schönemann (1966), https://doi.org/10.1007/BF02289451.

    Parameters
    ----------
    points, onto : shape (c, d) each, row k of both belonging together

    Returns
    -------
    Array R of shape (d, d): ``points @ R`` lies near ``onto``.

    Raises
    ------
    ValueError : shapes that differ
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (points, onto))
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"points and onto must have one shape (c, d), got {a.shape} and {b.shape}")
    left, _, right = np.linalg.svd(a.T @ b)
    rotation: Floats = left @ right
    return rotation
