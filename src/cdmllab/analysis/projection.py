"""Projections of embeddings to the plane, and how well they keep neighbours and distances."""

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
    """Project onto the two principal directions; shape (n, d) to (n, 2)."""
    flat: Floats = PCA(2, svd_solver="full").fit_transform(directions(embeddings))
    return flat


def umap(embeddings: ArrayLike, *, neighbours: int = 15, seed: int = 0) -> Floats:
    """Project with UMAP by cosine, initialised with PCA; shape (n, d) to (n, 2).

    McInnes et al., 2018, https://arxiv.org/abs/1802.03426.

    Parameters
    ----------
    embeddings : shape (n, d)
    neighbours : number of nearest neighbours that each point should stay close to; with fewer of
        them the map breaks into more pieces
    seed : the same seed gives the same map on the same machine
    """
    with warnings.catch_warnings(), optional("analysis", "UMAP"):
        warnings.simplefilter("ignore", ImportWarning)  # from its optional part for TensorFlow
        from umap import UMAP

    # With a seed UMAP uses one thread, and warns if it is asked for more.
    model = UMAP(n_neighbors=neighbours, metric="cosine", init="pca", random_state=seed, n_jobs=1)
    threads = torch.get_num_threads()
    try:
        flat: Floats = np.asarray(model.fit_transform(directions(embeddings)), dtype=np.float64)
    finally:
        # numba switches OpenMP to all cores, and torch uses the same OpenMP.
        torch.set_num_threads(threads)
    return flat


def neighbours_kept(embeddings: ArrayLike, flat: ArrayLike, k: int = 10) -> float:
    """The share of each point's `k` nearest neighbours, by angle, that are still so on the map.

    Parameters
    ----------
    embeddings, flat : shapes (n, d) and (n, 2)
    k : number of neighbours, less than n
    """
    # Among unit vectors the Euclidean distance gives the same neighbours as the angle.
    before, after = (
        _nearest(directions(embeddings), k),
        _nearest(np.asarray(flat, dtype=np.float64), k),
    )
    return float(
        np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)])
    )


def order_kept(embeddings: ArrayLike, flat: ArrayLike, labels: ArrayLike) -> float:
    """Spearman's correlation between people's distances before the projection and on the map.

    Each person is represented by the mean of its points; distances are cosine distances before the
    projection and Euclidean ones on the map.

    Parameters
    ----------
    embeddings, flat : shapes (n, d) and (n, 2)
    labels : the person of each point, shape (n,); at least three people

    Raises
    ------
    ValueError : fewer than three people
    """
    y = np.asarray(labels)
    people = np.unique(y)
    if len(people) < 3:
        raise ValueError(f"an order of distances needs at least three people, got {len(people)}")
    distances = []
    for points, metric in (
        (directions(embeddings), "cosine"),
        (np.asarray(flat, dtype=np.float64), "euclidean"),
    ):
        means = np.stack([points[y == person].mean(axis=0) for person in people])
        distances.append(pdist(means, metric))
    return float(spearmanr(*distances).statistic)


def clusters(points: ArrayLike, least: int = 8) -> int:
    """The number of clusters of at least `least` points that HDBSCAN finds in points (n, d).

    Campello et al., 2013, https://doi.org/10.1007/978-3-642-37456-2_14.
    """
    labels = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(
        np.asarray(points, dtype=np.float64)
    )
    return len(set(labels.tolist()) - {-1})  # -1 marks points that are in no cluster


def directions(embeddings: ArrayLike) -> Floats:
    """Embeddings scaled to length 1; shape (n, d)."""
    normalised: Floats = unit(torch.as_tensor(embeddings).detach().double()).numpy()
    return normalised


def _nearest(points: Floats, k: int) -> NDArray[np.int64]:
    if len(points) <= k:
        raise ValueError(f"{k} neighbours need more than {k} points, got {len(points)}")
    # Without an argument, `kneighbors` does not count a point as its own neighbour.
    neighbours: NDArray[np.int64] = (
        NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    )
    return neighbours
