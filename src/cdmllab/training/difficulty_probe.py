"""Easiness scores against the truth: a world of the face lab knows which images are hard, and
which mislabelled.
"""

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

PICTURES = 2_000
THIRDS = ("easy", "middling", "hard")
SCORES = ("similarity", "gap", "angle_gap")


class Truth:
    """Some images of a training set whose difficulty is known, looked at again and again while it
    is trained on.

    Parameters
    ----------
    source : a world of the face lab
    prepare : from uint8 images to the network's input
    images : how many, evenly spread over the set

    Raises
    ------
    DataError : the source does not know
    """

    def __init__(self, source: TrainingSet, prepare: Prepare, images: int = PICTURES) -> None:
        if not isinstance(source, CachedWorld):
            raise DataError(
                f"watch.truth_every needs a world of the face lab, and {source!r} does not know "
                f"what is hard"
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
        third = np.digitize(
            self.difficulty, np.quantile(self.difficulty[~self.wrong], [1 / 3, 2 / 3])
        )
        self.groups = {name: (third == n) & ~self.wrong for n, name in enumerate(THIRDS)}
        if self.wrong.any():
            self.groups["mislabelled"] = self.wrong

    @torch.no_grad()
    def scores(self, backbone: Backbone, head: Head) -> dict[str, Tensor]:
        """Each easiness score of the images, and their ``margin_rad`` and ``angle_deg``; shape
        (images,) each.
        """
        centres = head.directions()  # [c, K, d]
        e = embed(backbone, self.images, prepare=self.prepare).to(centres.device)
        labels = self.labels.to(e.device)
        out = head(e, labels, known_easiness=self.easiness.to(e.device))
        cosines = cosine(e, centres.flatten(0, 1)).unflatten(1, centres.shape[:2]).amax(dim=2)
        hardest = cosines.scatter(1, labels[:, None], -1.0).amax(dim=1)
        own = cosines.gather(1, labels[:, None]).squeeze(1)
        found = {
            "similarity": easiness_from_similarity(own),
            "gap": easiness_from_gap(own, hardest),
            "angle_gap": easiness_from_angle_gap(own, hardest),
            "margin_rad": out.margin_rad,
            "angle_deg": torch.rad2deg(angle(own)),
        }
        return {name: values.double().cpu() for name, values in found.items()}

    def look(self, backbone: Backbone, head: Head) -> dict[str, float]:
        """How well each easiness score orders the images, and what margin and angle hard and easy
        ones have.

        ``truth/<score>`` is Spearman's correlation of 1 - score with the known difficulty over
        rightly labelled images, ``truth/<score>_auc`` how well 1 - score finds wrong labels;
        ``truth/margin_rad_<group>`` and ``truth/angle_deg_<group>`` are means over the easy,
        middling and hard third, and the mislabelled.
        """
        found = self.scores(backbone, head)
        told: dict[str, float] = {}
        for name in SCORES:
            score = -found[name].numpy()
            told[f"truth/{name}"] = difficulty.rank_correlation(
                score[~self.wrong], self.difficulty[~self.wrong]
            )
            if self.wrong.any():
                told[f"truth/{name}_auc"] = difficulty.mislabel_auc(score, self.wrong)
        for what in ("margin_rad", "angle_deg"):
            told |= {
                f"truth/{what}_{name}": float(found[what][rows].mean())
                for name, rows in self.groups.items()
            }
        return told
