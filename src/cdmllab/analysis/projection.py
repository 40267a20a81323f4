"""Embeddings flattened to the plane, and what was kept of them: neighbours, distances between
people, clusters.
"""

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdmllab.errors import optional
from cdmllab.geometry import unit

with optional("analysis", "a map of embeddings"):
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]


def pca(embeddings: ArrayLike) -> Floats:
    """The two principal directions: the flat shadow with most of the variance; shape (n, d) to (n,
    2).
    """
    shadow: Floats = PCA(2, svd_solver="full").fit_transform(directions(embeddings))
    return shadow


def umap(embeddings: ArrayLike, *, neighbours: int = 15, seed: int = 0) -> Floats:
    """UMAP's map (McInnes et al., 2018) by cosine, begun from PCA; shape (n, d) to (n, 2).

    Parameters
    ----------
    embeddings : shape (n, d)
    neighbours : how many of its nearest each point is to stay near; fewer tear the map into more
        pieces
    seed : the same seed gives the same map on the same machine
    """
    with warnings.catch_warnings(), optional("analysis", "UMAP"):
        warnings.simplefilter("ignore", ImportWarning)  # of a part of it that wants TensorFlow
        from umap import UMAP

    made = UMAP(n_neighbors=neighbours, metric="cosine", init="pca", random_state=seed, n_jobs=1)
    threads = torch.get_num_threads()
    try:
        flat: Floats = np.asarray(made.fit_transform(directions(embeddings)), dtype=np.float64)
    finally:
        torch.set_num_threads(threads)  # numba takes all cores, and torch has the same OpenMP
    return flat


def neighbours_kept(embeddings: ArrayLike, flat: ArrayLike, k: int = 10) -> float:
    """Which share of the `k` nearest of each point, by angle, are among its `k` nearest on
    the map.
    """
    before, after = (
        _nearest(directions(embeddings), k),
        _nearest(np.asarray(flat, dtype=np.float64), k),
    )
    return float(
        np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)])
    )


def order_kept(embeddings: ArrayLike, flat: ArrayLike, labels: ArrayLike) -> float:
    """Spearman's correlation of how far people are from each other, before and on the map.

    Parameters
    ----------
    embeddings, flat : shapes (n, d) and (n, 2); people are compared by their means, by angle and on
        the map straight
    labels : who is shown, shape (n,); three people or more
    """
    y = np.asarray(labels)
    people = np.unique(y)
    if len(people) < 3:
        raise ValueError(f"an order of distances needs three people or more, got {len(people)}")
    apart = []
    for points, metric in (
        (directions(embeddings), "cosine"),
        (np.asarray(flat, dtype=np.float64), "euclidean"),
    ):
        means = np.stack([points[y == person].mean(axis=0) for person in people])
        apart.append(pdist(means, metric))
    return float(spearmanr(*apart).statistic)


def clusters(points: ArrayLike, least: int = 8) -> int:
    """How many clusters HDBSCAN (Campello et al., 2013) sees in points of shape (n, d), of `least`
    points or more.
    """
    found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(
        np.asarray(points, dtype=np.float64)
    )
    return len(set(found.tolist()) - {-1})


def directions(embeddings: ArrayLike) -> Floats:
    """Embeddings at length 1; shape (n, d)."""
    at_one: Floats = unit(torch.as_tensor(embeddings).detach().double()).numpy()
    return at_one


def _nearest(points: Floats, k: int) -> NDArray[np.int64]:
    if len(points) <= k:
        raise ValueError(f"{k} neighbours need more than {k} points, got {len(points)}")
    found: NDArray[np.int64] = (
        NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    )
    return found
