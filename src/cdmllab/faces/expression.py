"""Expressions: how far each part of the face moves, for a kind and a strength."""

import torch
from torch import Tensor

KINDS = ("smile", "laugh", "surprise", "anger", "sadness")
_PARTS = ("smile", "corner", "open", "teeth", "widen", "brow", "furrow", "lids")
# A row for each of `KINDS`, a column for each of `_PARTS`: cheeks up, mouth corners up, mouth open,
# teeth visible, mouth wider, brows up, inner brows up, eyes open.
_TABLE = (
    (0.9, 0.050, 0.10, 0.6, 0.16, 0.1, 0.0, -0.20),
    (1.2, 0.065, 0.62, 1.0, 0.20, 0.3, 0.0, -0.36),
    (0.0, -0.010, 0.95, 0.3, -0.16, 1.0, 0.0, 0.42),
    (0.1, -0.035, 0.00, 0.0, -0.06, -0.7, -1.0, -0.22),
    (0.0, -0.050, 0.00, 0.0, -0.05, 0.2, 1.0, -0.25),
)


def parts(kind: Tensor, strength: Tensor) -> dict[str, Tensor]:
    """Movement of each part, shape (b,), for a kind in (0, 1) and a strength in [0, 1]."""
    table = torch.tensor(_TABLE, device=kind.device)
    row = table[(kind * len(KINDS)).long().clamp(max=len(KINDS) - 1)] * strength[:, None]
    return dict(zip(_PARTS, row.unbind(1), strict=True))
