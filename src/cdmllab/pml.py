"""Any margin head as a loss of pytorch-metric-learning, for its miners, reducers and trainers.

This module needs the extra ``pairs``. ``import cdmllab`` does not import it.
"""

import math
from typing import Any

import torch
from torch import Tensor

from cdmllab.errors import optional
from cdmllab.geometry import angle, unit
from cdmllab.heads import Head, MarginHead
from cdmllab.heads.checks import IGNORE

with optional("pairs", "a loss for pytorch-metric-learning"):
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses.base_metric_loss_function import BaseMetricLossFunction
    from pytorch_metric_learning.losses.mixins import WeightRegularizerMixin
    from pytorch_metric_learning.utils import common_functions, loss_and_miner_utils

__all__ = ["HeadLoss"]


class HeadLoss(WeightRegularizerMixin, BaseMetricLossFunction):  # type: ignore[misc]
    """A margin head as a loss function of pytorch-metric-learning.

    It takes the place of the library's ``ArcFaceLoss``, ``CosFaceLoss`` or ``SubCenterArcFaceLoss``
    wherever one is used: ``loss(embeddings, labels, indices_tuple)`` gives the reduced loss, a
    miner's tuples weight the samples as they do there, ``W`` holds the class centres and
    `get_logits` the logits without a margin. Its parameters are those of the head, so pass them to
    an optimiser, and move it to a device with ``to``: unlike the library's losses it does not
    follow the embeddings by itself. Samples with the label -1 are ignored.

    With ``collect_stats=True`` it records the mean angle to the class centre and the mean margin
    of each batch in degrees, as ``avg_angle`` and ``avg_margin``.

    Parameters
    ----------
    head : from `cdmllab.heads.create`
    reducer, embedding_regularizer, embedding_reg_weight, weight_regularizer, weight_reg_weight,
    collect_stats : the library's options

    Raises
    ------
    ValueError : the head has no class centres, like those of triplet or contrastive losses, which
        are the library's own

    Examples
    --------
    >>> import torch
    >>> from cdmllab import heads
    >>> loss = HeadLoss(heads.create("cdml", embedding_dim=8, num_identities=10))
    >>> loss(torch.randn(4, 8), torch.tensor([0, 3, 3, 9])).shape
    torch.Size([])
    """

    def __init__(
        self,
        head: Head,
        *,
        reducer: Any = None,
        embedding_regularizer: Any = None,
        embedding_reg_weight: float = 1.0,
        weight_regularizer: Any = None,
        weight_reg_weight: float = 1.0,
        collect_stats: bool | None = None,
    ) -> None:
        if not isinstance(head, MarginHead):
            raise ValueError(
                f"a head with class centres is needed, but {getattr(head, 'name', head)!r} has "
                "none; pair losses are pytorch-metric-learning's own"
            )
        super().__init__(
            reducer=reducer,
            embedding_regularizer=embedding_regularizer,
            embedding_reg_weight=embedding_reg_weight,
            weight_regularizer=weight_regularizer,
            weight_reg_weight=weight_reg_weight,
            collect_stats=collect_stats,
        )
        self.head = head
        self.num_classes = head.num_identities
        self.add_to_recordable_attributes(name="num_classes", is_stat=False)
        self.add_to_recordable_attributes(list_of_names=["avg_angle", "avg_margin"], is_stat=True)

    @property
    def W(self) -> Tensor:  # noqa: N802  (the name in the library)
        """The class centres in the library's layout, shape (d, c K)."""
        return self.head.centres.T

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor, indices_tuple: Any, ref_emb: Any, ref_labels: Any
    ) -> dict[str, dict[str, Any]]:
        """The loss of each sample, for a reducer."""
        common_functions.labels_required(labels)
        common_functions.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        out = self.head(embeddings, labels)
        (kept,) = torch.nonzero(labels != IGNORE, as_tuple=True)
        if self.collect_stats and len(kept):
            with torch.no_grad():
                self.avg_angle = math.degrees(float(angle(out.target_cos[kept]).mean()))
                self.avg_margin = math.degrees(float(out.margin_rad[kept].mean()))
        if not len(kept):
            losses: dict[str, dict[str, Any]] = {"loss": self.zero_loss()}
        else:
            sample_loss = out.sample_loss[kept]
            # How often each sample occurs in the miner's tuples, 1 for the most frequent.
            weights = loss_and_miner_utils.convert_to_weights(
                indices_tuple, labels, dtype=sample_loss.dtype
            )
            losses = {
                "loss": {
                    "losses": sample_loss * weights[kept],
                    "indices": kept,
                    "reduction_type": "element",
                }
            }
        self.add_weight_regularization_to_loss_dict(losses, self.head.centres)
        return losses

    def get_default_distance(self) -> CosineSimilarity:
        """The only distance that a margin softmax has."""
        return CosineSimilarity()

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Logits without a margin, shape (b, d) to (b, c)."""
        return self.head.logits(embeddings)

    @torch.no_grad()
    def get_outliers(
        self, embeddings: Tensor, labels: Tensor, threshold: float = 75.0
    ) -> tuple[Tensor, Tensor]:
        """Samples far from the dominant centre of their identity, as in sub-centre ArcFace.

        Parameters
        ----------
        embeddings, labels : shapes (b, d) and (b,)
        threshold : the angle in degrees from which a sample counts as an outlier

        Returns
        -------
        The positions of the outliers, ascending, shape (o,), and for each identity the unit centre
        that is nearest to most of its samples, shape (d, c); the first centre for one without
        samples.
        """
        centres = self.head.directions().to(embeddings.dtype)  # [c, K, d]
        count, k, _ = centres.shape
        (kept,) = torch.nonzero(labels != IGNORE, as_tuple=True)
        x, y = unit(embeddings[kept]), labels[kept]
        # Votes of the samples for the K centres of their identity, [c, K].
        chosen = torch.einsum("bd,bkd->bk", x, centres[y]).argmax(dim=1)
        votes = torch.bincount(y * k + chosen, minlength=count * k).view(count, k)
        dominant = centres[torch.arange(count, device=votes.device), votes.argmax(dim=1)]
        cosines = (x * dominant[y]).sum(dim=1)
        return kept[cosines < math.cos(math.radians(threshold))], dominant.T
