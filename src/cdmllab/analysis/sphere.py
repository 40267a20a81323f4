"""The arrangement of points on the sphere: nearest neighbours, bounds, and dimensions in use.

A learned arrangement can be compared with two references: random directions, and the most even
arrangement that an optimiser finds.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.geometry import unit

Floats = NDArray[np.float64]


def nearest_deg(points: ArrayLike) -> Floats:
    """The angle from each point to its nearest neighbour, degrees.

    Parameters
    ----------
    points : shape (n, d), of any length; n at least 2

    Returns
    -------
    Array of shape (n,).

    Raises
    ------
    ValueError : the points have another shape
    """
    p = torch.as_tensor(points).detach().double()
    if p.ndim != 2 or len(p) < 2:
        raise ValueError(f"points must have shape (n, d) with n at least 2, got {tuple(p.shape)}")
    cosines = unit(p) @ unit(p).T  # [n, n]
    # With -1 on the diagonal no point is its own neighbour.
    nearest: Floats = torch.rad2deg(
        torch.acos(cosines.fill_diagonal_(-1.0).amax(dim=1).clamp(-1.0, 1.0))
    ).numpy()
    return nearest


def bound_deg(count: int, dim: int) -> float:
    """An upper bound, in degrees, on the smallest angle of `count` points in `dim` dimensions.

    R. A. Rankin, 1955, https://doi.org/10.1017/S2040618500033219. Up to ``dim + 1`` points can form
    a simplex, which reaches the bound arccos(-1 / (count - 1)). Among more points there are always
    two within 90 degrees of each other, a bound that up to ``2 dim`` points can reach.

    Raises
    ------
    ValueError : fewer than 2 points or 2 dimensions
    """
    if count < 2 or dim < 2:
        raise ValueError(f"a bound needs at least 2 points and 2 dimensions, got {count} and {dim}")
    return math.degrees(math.acos(-1.0 / (count - 1))) if count <= dim + 1 else 90.0


def at_random(count: int, dim: int, *, seed: int = 0) -> Tensor:
    """Random directions, uniform on the sphere; shape (count, dim), float64."""
    generator = torch.Generator().manual_seed(seed)
    return unit(torch.randn(count, dim, generator=generator, dtype=torch.float64))


def most_even(count: int, dim: int, *, seed: int = 0, steps: int = 1200) -> Tensor:
    """Points that an optimiser has spread as evenly as it could; shape (count, dim), float64.

    It minimises log sum exp(k cos) over all pairs of points, where k rises from step to step: at
    first all points repel each other, in the end only nearest neighbours. The result need not be
    the optimum, but the optimiser does find the platonic solids.

    Parameters
    ----------
    count, dim : number of points and of dimensions
    seed : seed of the initial directions
    steps : steps of the optimiser
    """
    with torch.enable_grad():
        x = at_random(count, dim, seed=seed).requires_grad_()
        optimiser = torch.optim.Adam([x])
        itself = torch.full((count,), math.inf, dtype=torch.float64).diag()  # exp(-inf) = 0
        for step in range(steps):
            # The sharpness rises from 4 to 2,000, and the learning rate falls from 0.05 to 0.0001.
            share = step / max(steps - 1, 1)
            sharpness = 4.0 * 500.0**share
            optimiser.param_groups[0]["lr"] = 0.05 * 0.002**share
            p = unit(x)
            # A smooth maximum of the cosines; the diagonal is excluded by `itself`.
            energy = torch.logsumexp((sharpness * (p @ p.T) - itself).flatten(), 0) / sharpness
            optimiser.zero_grad()
            energy.backward()
            optimiser.step()
    return unit(x.detach())


def chance_density(angle_deg: ArrayLike, dim: int) -> Floats:
    """The density, per degree, of the angle between two random directions in `dim` dimensions.

    It is proportional to sin(angle)^(dim - 2): a peak at 90 degrees, which is narrower the more
    dimensions there are.

    Parameters
    ----------
    angle_deg : shape (n,), degrees in [0, 180]
    dim : number of dimensions, at least 2

    Raises
    ------
    ValueError : fewer than 2 dimensions
    """
    if dim < 2:
        raise ValueError(f"directions need at least 2 dimensions, got {dim}")
    theta = np.radians(np.asarray(angle_deg, dtype=np.float64))
    # Γ(d/2) / (√π Γ((d - 1)/2)) gives an integral of 1 over radians; Γ itself would overflow.
    scale = math.exp(math.lgamma(dim / 2) - math.lgamma((dim - 1) / 2)) / math.sqrt(math.pi)
    density: Floats = scale * np.sin(theta) ** (dim - 2) * math.pi / 180.0  # per degree
    return density


def spectrum(embeddings: ArrayLike) -> Floats:
    """The share of the variance along each principal direction, descending; shape (min(n, d),).

    Parameters
    ----------
    embeddings : shape (n, d); they are normalised, and their mean direction is subtracted

    Raises
    ------
    ValueError : the embeddings have another shape
    """
    x = unit(torch.as_tensor(embeddings).detach().double())
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(
            f"embeddings must have shape (n, d) with n at least 2, got {tuple(x.shape)}"
        )
    # The squared singular values of centred directions are proportional to the variances.
    variance = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    shares: Floats = (variance / variance.sum()).numpy()
    return shares


def effective_dim(shares: ArrayLike) -> float:
    """The effective number of dimensions, 1 / (sum of squared shares).

    It is the participation ratio: the number of equal shares with the same sum of squares.
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
