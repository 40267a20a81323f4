"""What a training loop may ask of any head, whether it has class centres or compares pairs."""

from typing import Any

from torch import Tensor, nn

from cdmllab.heads.output import HeadOutput


class Head(nn.Module):
    """Base of all heads: embeddings and labels in, a loss out.

    Attributes
    ----------
    name : the loss, for messages and file names
    embedding_dim, num_identities : what a batch is checked against
    """

    name: str
    embedding_dim: int
    num_identities: int

    def forward(self, embeddings: Tensor, labels: Any) -> HeadOutput:
        """Loss of a batch; shapes (b, d) and (b,)."""
        raise NotImplementedError

    def set_progress(self, progress: float) -> None:
        """How much of the training is done, in [0, 1]; a loss without a schedule ignores it."""

    def nearest(self, embeddings: Tensor) -> Tensor | None:
        """The identity whose class centre is nearest, (b, d) to (b,); None without class
        centres.
        """
        return None

    def directions(self) -> Tensor:
        """The class centres at length 1, shape (c, K, d), detached.

        Raises
        ------
        ValueError : the head has no class centres
        """
        raise ValueError(f"{self.name} compares pairs of embeddings: it has no class centres")

    def sharded_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters of which each rank holds a part, by name; the others are whole on every
        rank.
        """
        return {}

    def whole(self, part: Tensor) -> Tensor:
        """A sharded parameter, or a tensor of its shape, as a part of the whole."""
        return part
