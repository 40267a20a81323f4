"""What a network makes of some pictures as its training goes on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdmllab.backbones import Backbone
from cdmllab.evaluate.embedding import embed
from cdmllab.geometry import unit
from cdmllab.heads import MarginHead

if TYPE_CHECKING:
    from cdmllab.heads.pair_losses import PairHead


class Snapshots:
    """Embeddings, class centres and margins after chosen epochs: give it to `train` as `at_epoch`.

    Afterwards ``epochs`` says which were seen, k of them, and there are ``points`` of shape (k, n, d) and ``centres``
    (k, c, d), of length 1, and ``margin_rad`` (k, n), what the loss would give each picture; float32.

    Parameters
    ----------
    images : float Tensor of shape (n, channels, height, width), as the network takes them
    labels : identity of each, shape (n,)
    epochs : the numbers of epochs done after which to look; 0 is before the training
    """

    def __init__(self, images: Tensor, labels: Tensor, epochs: Iterable[int]) -> None:
        self.images, self.labels, self._wanted = images, labels, frozenset(epochs)
        self.epochs: list[int] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def __call__(self, epoch: int, backbone: Backbone, head: "MarginHead | PairHead") -> None:
        """Look, if this is one of the epochs.

        Raises
        ------
        ValueError : a pair loss, which has no class centres
        """
        if epoch not in self._wanted:
            return
        if not isinstance(head, MarginHead):
            raise ValueError(f"snapshots show class centres, and {head.name} has none")
        embeddings = embed(backbone, self.images)
        said = head(embeddings.to(head.centres.device), self.labels.to(head.centres.device))
        centres = unit(head.centres.detach().float())[:: head.policy.centres_per_identity]
        self.epochs.append(epoch)
        self._seen.append((unit(embeddings), centres.cpu(), said.margin_rad.float().cpu()))

    @property
    def points(self) -> Tensor:
        """Unit embeddings, shape (k, n, d)."""
        return torch.stack([points for points, _, _ in self._seen])

    @property
    def centres(self) -> Tensor:
        """The first class centre of each identity, shape (k, c, d)."""
        return torch.stack([centres for _, centres, _ in self._seen])

    @property
    def margin_rad(self) -> Tensor:
        """Margins, shape (k, n), radians."""
        return torch.stack([margins for _, _, margins in self._seen])
