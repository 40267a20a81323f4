"""Models of other implementations, for comparison with ours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIM, SCALE, MARGIN_RAD = 512, 64.0, 0.5


class Textbook(nn.Module):
    """ArcFace as in tutorials: normalisation, arc cosine, one-hot labels, cross-entropy."""

    def __init__(self, identities: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(identities, DIM) * 0.01)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(x), F.normalize(self.weight)).clamp(-1 + 1e-7, 1 - 1e-7)
        target = torch.cos(torch.acos(cosines) + MARGIN_RAD)
        chosen = F.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        return F.cross_entropy(SCALE * (chosen * target + (1.0 - chosen) * cosines), labels)


class StraightThroughDense(Textbook):
    """A model of arcface_torch on one device: the margin under no_grad, in place."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        logits = F.linear(F.normalize(x), F.normalize(self.weight)).clamp(-1, 1)
        rows = torch.where(labels != -1)[0]
        with torch.no_grad():
            target = logits[rows, labels[rows]].arccos()
            logits.arccos_()
            logits[rows, labels[rows]] = target + MARGIN_RAD
            logits.cos_()
        return F.cross_entropy(logits * SCALE, labels)
