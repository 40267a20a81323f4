"""The interface of all heads, with class centres or without, for the training loop."""

from typing import Any

from torch import Tensor, nn

from cdmllab.heads.output import HeadOutput


class Head(nn.Module):
    """Base of all heads: takes embeddings and labels, returns a loss.

    Attributes
    ----------
    name : the loss, for messages and file names
    embedding_dim, num_identities : the sizes that a batch is checked against
    """

    name: str
    embedding_dim: int
    num_identities: int

    def forward(self, embeddings: Tensor, labels: Any) -> HeadOutput:
        """Loss of a batch; shapes (b, d) and (b,)."""
        raise NotImplementedError

    def set_progress(self, progress: float) -> None:
        """Set the completed share of the training, in [0, 1]; ignored without a schedule."""

    def nearest(self, embeddings: Tensor) -> Tensor | None:
        """The identity with the nearest class centre, (b, d) to (b,); None without centres."""
        return None

    def directions(self) -> Tensor:
        """The class centres at length 1, shape (c, K, d), detached.

        Raises
        ------
        ValueError : the head has no class centres
        """
        raise ValueError(f"{self.name} compares pairs of embeddings: it has no class centres")

    def sharded_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are split over ranks, by name; all others are replicated."""
        return {}

    def global_view(self, part: Tensor) -> Tensor:
        """A sharded parameter, or a tensor of its shape, as a part of the full tensor."""
        return part
