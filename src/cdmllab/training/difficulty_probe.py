"""Compare easiness scores with the known difficulty and mislabelling of a face-lab world."""

import numpy as np
import torch
from torch import Tensor

from cdmllab.backbones import Backbone
from cdmllab.data.sets import TrainingSet
from cdmllab.easiness import easiness_from_angle_gap, easiness_from_gap, easiness_from_similarity
from cdmllab.errors import DataError
from cdmllab.evaluate import embed
from cdmllab.faces import difficulty
from cdmllab.faces.cache import CachedWorld
from cdmllab.geometry import angle, cosine
from cdmllab.heads import Head
from cdmllab.training import datasets
from cdmllab.training.loop import Prepare

PICTURES = 2_000  # embedded at every look
THIRDS = ("easy", "middling", "hard")
SCORES = ("similarity", "gap", "angle_gap")


class Truth:
    """Images of a training set with known difficulty, scored again and again during training.

    Parameters
    ----------
    source : a world of the face lab
    prepare : from uint8 images to the network's input
    images : their number; they are spread evenly over the set

    Raises
    ------
    DataError : the source is not a world of the face lab
    """

    def __init__(self, source: TrainingSet, prepare: Prepare, images: int = PICTURES) -> None:
        if not isinstance(source, CachedWorld):
            raise DataError(
                f"watch.truth_every needs a world of the face lab, but the difficulty of "
                f"{source!r} is unknown"
            )
        self.rows = np.unique(
            np.linspace(0, len(source) - 1, min(images, len(source))).astype(np.int64)
        )
        self.prepare = prepare
        self.images = torch.from_numpy(source.read(self.rows)).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.from_numpy(source.labels[self.rows])
        self.easiness = datasets.known_easiness(source)[torch.from_numpy(self.rows)]
        self.difficulty = difficulty.of(source.world, self.rows)
        self.wrong = source.mislabelled[self.rows]
        # Thirds of the correctly labelled images; the mislabelled ones are a group of their own.
        third = np.digitize(
            self.difficulty, np.quantile(self.difficulty[~self.wrong], [1 / 3, 2 / 3])
        )
        self.groups = {name: (third == n) & ~self.wrong for n, name in enumerate(THIRDS)}
        if self.wrong.any():
            self.groups["mislabelled"] = self.wrong

    @torch.no_grad()
    def scores(self, backbone: Backbone, head: Head) -> dict[str, Tensor]:
        """Easiness scores, ``margin_rad`` and ``angle_deg``, each of shape (images,)."""
        centres = head.directions()  # [c, K, d]
        e = embed(backbone, self.images, prepare=self.prepare).to(centres.device)  # [n, d]
        labels = self.labels.to(e.device)
        out = head(e, labels, known_easiness=self.easiness.to(e.device))
        # [n, c], to the nearest of each identity's K centres.
        cosines = cosine(e, centres.flatten(0, 1)).unflatten(1, centres.shape[:2]).amax(dim=2)
        # With -1 in the column of the positive, the largest is the hardest negative.
        hardest = cosines.scatter(1, labels[:, None], -1.0).amax(dim=1)
        own = cosines.gather(1, labels[:, None]).squeeze(1)
        scores = {
            "similarity": easiness_from_similarity(own),
            "gap": easiness_from_gap(own, hardest),
            "angle_gap": easiness_from_angle_gap(own, hardest),
            "margin_rad": out.margin_rad,
            "angle_deg": torch.rad2deg(angle(own)),
        }
        return {name: values.double().cpu() for name, values in scores.items()}

    def look(self, backbone: Backbone, head: Head) -> dict[str, float]:
        """Metrics that compare each easiness score, the margin and the angle with the truth.

        ``truth/<score>`` is Spearman's correlation of 1 - score with the known difficulty of
        correctly labelled images, ``truth/<score>_auc`` the AUC of 1 - score for wrong labels.
        ``truth/margin_rad_<group>`` and ``truth/angle_deg_<group>`` are means over the easy,
        middling and hard thirds, and over the mislabelled images.
        """
        scores = self.scores(backbone, head)
        metrics: dict[str, float] = {}
        for name in SCORES:
            # Only ranks matter below, so -score serves as 1 - score.
            score = -scores[name].numpy()
            metrics[f"truth/{name}"] = difficulty.rank_correlation(
                score[~self.wrong], self.difficulty[~self.wrong]
            )
            if self.wrong.any():
                metrics[f"truth/{name}_auc"] = difficulty.mislabel_auc(score, self.wrong)
        for quantity in ("margin_rad", "angle_deg"):
            metrics |= {
                f"truth/{quantity}_{name}": float(scores[quantity][rows].mean())
                for name, rows in self.groups.items()
            }
        return metrics
