"""Group photos without names by similarity: average linkage of cosines, cut at a threshold.

Average linkage joins two groups while the mean cosine between them is above the threshold. Unlike
with single linkage, one unlucky pair cannot chain two people together.
"""

import numpy as np
from numpy.typing import NDArray

from cdmllab.errors import optional


def grouped(cosines: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """The group of each face, shape (n,): 0 is the largest group, equal ones in order of faces.

    Parameters
    ----------
    cosines : shape (n, n)
    threshold : the least mean cosine between two groups that are joined
    """
    n = len(cosines)
    if n == 1:
        return np.zeros(1, dtype=np.int64)
    with optional("photos", "grouping photos by likeness"):
        from scipy.cluster.hierarchy import fcluster, linkage

    # SciPy takes distances as the upper triangle of the table, row by row.
    upper = np.triu_indices(n, k=1)
    tree = linkage(1.0 - cosines[upper].astype(np.float64), method="average")
    labels = fcluster(tree, 1.0 - threshold, criterion="distance")
    # Number the groups by falling size, and equal ones by their first face.
    _, first, inverse, count = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.lexsort((first, -count))] = np.arange(len(count))
    groups: NDArray[np.int64] = rank[inverse]
    return groups
