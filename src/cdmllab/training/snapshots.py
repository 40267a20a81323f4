"""Record the embeddings of some images during a training."""

from collections.abc import Iterable

import torch
from torch import Tensor

from cdmllab.backbones import Backbone
from cdmllab.evaluate.embedding import embed
from cdmllab.geometry import unit
from cdmllab.heads import Head


class Snapshots:
    """Embeddings, class centres and margins after chosen epochs; pass it to `train` as `at_epoch`.

    Afterwards ``epochs`` lists the k recorded epochs. ``points`` has shape (k, n, d), ``centres``
    (k, c, d), both of length 1, and ``margin_rad`` (k, n) is the margin the loss would give each
    image. All are float32.

    Parameters
    ----------
    images : float Tensor of shape (n, channels, height, width), ready for the network
    labels : identities, shape (n,)
    epochs : numbers of epochs done; 0 is before the training
    """

    def __init__(self, images: Tensor, labels: Tensor, epochs: Iterable[int]) -> None:
        self.images, self.labels, self._recorded_epochs = images, labels, frozenset(epochs)
        self.epochs: list[int] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []  # points, centres, margins

    @torch.no_grad()
    def __call__(self, epoch: int, backbone: Backbone, head: Head) -> None:
        """Record an epoch if it is one of the chosen epochs.

        Raises
        ------
        ValueError : a pair loss, which has no class centres
        """
        if epoch not in self._recorded_epochs:
            return
        centres = head.directions()[:, 0].float()  # the first of K
        embeddings = embed(backbone, self.images)
        out = head(embeddings.to(centres.device), self.labels.to(centres.device))
        self.epochs.append(epoch)
        self._seen.append((unit(embeddings), centres.cpu(), out.margin_rad.float().cpu()))

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
