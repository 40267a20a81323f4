"""Train a linear map of fixed embeddings with any loss: a real training that takes seconds.

The network that computed the embeddings is frozen. So the effect of a loss on strong features of
real faces can be measured a hundred times in the time of training one network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cdmllab import heads
from cdmllab.geometry import unit
from cdmllab.training.config_sections import OptimiserConfig
from cdmllab.training.schedule import learning_rate

Floats = NDArray[np.float32]


_OPTIMISER = OptimiserConfig(lr=0.1, schedule="cosine")


@dataclass(frozen=True)
class ProjectionRecipe:
    """Epochs, batch size and optimiser of a projection."""

    epochs: int = 20
    batch_size: int = 256
    optimiser: OptimiserConfig = _OPTIMISER


class Epoch(NamedTuple):
    """Means over the samples of an epoch; easy and hard refer to the target cosine."""

    loss: float
    margin_rad: float
    margin_easy_rad: float  # of the third of each batch with the largest target cosine
    margin_hard_rad: float  # of the third with the smallest
    easy_share: float  # of samples with easiness above 0; NaN if the loss has no easiness


class Projected(NamedTuple):
    """A trained projection and its history."""

    weight: Floats  # [D, d]: an embedding x becomes weight @ x / |x|
    epochs: list[Epoch]

    def transform(self, embeddings: Floats) -> Floats:
        """Project embeddings of shape (n, d) to (n, D)."""
        x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        projected: Floats = x @ self.weight.T
        return projected


def project(
    views: tuple[Floats, ...],
    labels: NDArray[np.int64],
    loss: Mapping[str, Any],
    *,
    seed: int,
    recipe: ProjectionRecipe | None = None,
) -> Projected:
    """Train a square linear map of unit embeddings, starting from the identity.

    Parameters
    ----------
    views : embeddings of the same n images, one array (n, d) per augmentation (plain, mirrored);
        each sample takes a random one
    labels : identities, shape (n,), from 0 upwards without gaps
    loss : ``name`` and options of `cdmllab.heads.create`
    seed : of the class centres, the order and the views
    recipe : default `ProjectionRecipe()`

    Raises
    ------
    ValueError : shapes that differ, labels with a gap, or fewer images than a batch
    """
    recipe = recipe or ProjectionRecipe()
    n, d = views[0].shape
    num_identities = int(labels.max()) + 1
    if any(view.shape != (n, d) for view in views) or labels.shape != (n,):
        raise ValueError(f"views and labels must be of the same {n} images")
    if len(np.unique(labels)) != num_identities:
        raise ValueError("labels must be 0, 1, 2, ... without gaps")
    if n < recipe.batch_size:
        raise ValueError(f"a batch of {recipe.batch_size} needs more than {n} images")
    stacked = unit(torch.from_numpy(np.stack(views)))  # [v, n, d]
    y = torch.from_numpy(labels)
    options = dict(loss)
    # Draw random numbers without a change of the caller's random state.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = heads.create(
            options.pop("name"),
            embedding_dim=d,
            num_identities=num_identities,
            class_sizes=np.bincount(labels),
            **options,
        )
        layer = nn.Linear(d, d, bias=False)
        nn.init.eye_(layer.weight)
        optimiser = torch.optim.SGD(
            [*layer.parameters(), *head.parameters()],
            lr=recipe.optimiser.lr,
            momentum=recipe.optimiser.momentum,
            weight_decay=recipe.optimiser.weight_decay,
        )
        steps = n // recipe.batch_size  # per epoch
        course = []
        for epoch in range(recipe.epochs):
            # [steps, batch]; the remaining images are left out of this epoch.
            order = torch.randperm(n)[: steps * recipe.batch_size].view(steps, -1)
            history = _EpochSums()
            for number, rows in enumerate(order):
                step = epoch * steps + number
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(
                        recipe.optimiser, step, steps, recipe.epochs, recipe.batch_size
                    )
                head.set_progress(step / (steps * recipe.epochs))
                view = torch.randint(len(views), (len(rows),))  # [batch]
                out = head(layer(stacked[view, rows]), y[rows])
                optimiser.zero_grad()
                out.loss.backward()
                optimiser.step()
                history.add(out)
            course.append(history.mean())
    return Projected(layer.weight.detach().numpy().copy(), course)


class _EpochSums:
    """Sums over the batches of an epoch."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, out: heads.HeadOutput) -> None:
        # Ascending target cosines: the hardest third comes first.
        order = out.target_cos.argsort()
        third = max(len(order) // 3, 1)
        hard, easy = (out.margin_rad[rows].mean() for rows in (order[:third], order[-third:]))
        share = torch.tensor(torch.nan)  # for a loss without easiness
        if out.easiness is not None:
            share = (out.easiness > 0.0).float().mean()
        row = torch.stack([out.loss.detach(), out.margin_rad.mean(), easy, hard, share])
        self._rows.append(row)

    def mean(self) -> Epoch:
        return Epoch(*torch.stack(self._rows).mean(dim=0).tolist())
