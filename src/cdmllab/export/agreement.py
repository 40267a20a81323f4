"""Compare the embeddings of an exported file with those of its network."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab import evaluate
from cdmllab.data.pairs import Pairs
from cdmllab.errors import CdmlLabError

Floats = NDArray[np.float32]
# From normalised images [b, channels, size, size] to embeddings [b, d].
Embed = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Agreement:
    """A runtime compared with PyTorch: similarity of embeddings, and verification accuracy."""

    faces_cosine_min: float
    faces_cosine_mean: float
    noise_cosine_min: float
    length_error_max: float  # relative error of the embedding's length
    accuracy_before: float  # of PyTorch on the face-lab protocol, 0 to 1
    accuracy_after: float  # of the runtime
    pairs: int  # of the protocol

    @property
    def drop_points(self) -> float:
        """Accuracy lost, in percentage points; negative if some was gained."""
        return 100.0 * (self.accuracy_before - self.accuracy_after)

    def plain(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {**asdict(self), "drop_points": self.drop_points}

    def require(self, *, cosine_min: float, cosine_mean: float, drop_points: float) -> None:
        """Raise if the file differs too much from PyTorch.

        Parameters
        ----------
        cosine_min : the least cosine on face-lab images and on noise
        cosine_mean : the least mean cosine on face-lab images
        drop_points : the largest loss of accuracy, in percentage points

        Raises
        ------
        CdmlLabError : names the quantity, its value and its limit
        """
        least = min(self.faces_cosine_min, self.noise_cosine_min)
        for name, got, limit in (
            ("smallest cosine", least, cosine_min),
            ("mean cosine on face-lab images", self.faces_cosine_mean, cosine_mean),
        ):
            if not got >= limit:  # also true for NaN
                raise CdmlLabError(
                    f"the exported file does not agree with PyTorch: {name} {got:.5f} is below "
                    f"{limit}"
                )
        if self.drop_points > drop_points:
            before, after = 100 * self.accuracy_before, 100 * self.accuracy_after
            raise CdmlLabError(
                f"the exported file loses {self.drop_points:.2f} points of verification accuracy "
                f"({before:.2f} -> {after:.2f} on {self.pairs:,} pairs), more than {drop_points:g}"
            )


def compare(before: tuple[Floats, Floats], after: tuple[Floats, Floats], pairs: Pairs) -> Agreement:
    """Compare embeddings of face-lab images (n, d) and of noise (k, d) from two runtimes.

    Raises
    ------
    CdmlLabError : the shapes differ, or an embedding is zero or not finite
    """
    for one, other in zip(before, after, strict=True):
        if one.shape != other.shape:
            raise CdmlLabError(
                f"the exported file gives embeddings of shape {other.shape}, PyTorch {one.shape}"
            )
    try:
        # Index 0 is the images of the face lab, index 1 the noise.
        accuracies = [evaluate.verify(e, pairs).accuracy.mean for e in (before[0], after[0])]
    except ValueError as error:
        raise CdmlLabError(f"the embeddings cannot be compared: {error}") from error
    faces, noise = (cosines(one, other) for one, other in zip(before, after, strict=True))
    lengths = [np.linalg.norm(e, axis=1) for e in (before[0], after[0])]
    return Agreement(
        faces_cosine_min=float(faces.min()),
        faces_cosine_mean=float(faces.mean()),
        noise_cosine_min=float(noise.min()),
        length_error_max=float(np.abs(lengths[1] / lengths[0] - 1.0).max()),
        accuracy_before=accuracies[0],
        accuracy_after=accuracies[1],
        pairs=len(pairs.same),
    )


def cosines(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Cosines of corresponding rows; shapes (n, d), (n, d) to (n,)."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    similarity: NDArray[np.float64] = (
        (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    )
    return similarity
