"""What is watched while a network trains: one line of numbers every so many steps."""

import resource
import sys
from time import perf_counter

import torch
from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.heads import HeadOutput

QUANTILES = (0.1, 0.5, 0.9)


class Clock:
    """Images a second and the share of the time spent waiting for data, since the last look."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start counting."""
        self._since, self._waited, self._images = perf_counter(), 0.0, 0

    def waited(self, seconds: float, images: int) -> None:
        """A batch has arrived."""
        self._waited += seconds
        self._images += images

    def look(self) -> dict[str, float]:
        """The two numbers; starts counting anew."""
        passed = max(perf_counter() - self._since, 1e-9)
        told = {"images_per_s": self._images / passed, "data_wait": self._waited / passed}
        self.reset()
        return told


def measures(
    out: HeadOutput, embeddings: Tensor, nearest: Tensor | None, labels: Tensor
) -> dict[str, float]:
    """Numbers of one batch; quantiles are those of the samples of the batch.

    Parameters
    ----------
    out : of the head, b samples
    embeddings : shape (b, d), before normalisation
    nearest : the identity whose class centre is nearest, shape (b,); None where there are no
        centres
    labels : shape (b,)
    """
    told = {
        "loss": float(out.loss.detach()),
        "embedding_norm": float(embeddings.detach().float().norm(dim=1).mean()),
    }
    if nearest is None:
        return told
    told["accuracy"] = float((nearest == labels).float().mean())
    told["target_cos"] = float(out.target_cos.mean())
    told["margin_rad"] = float(out.margin_rad.mean())
    spread = {
        "target_angle_deg": torch.rad2deg(angle(out.target_cos)),
        "margin_rad": out.margin_rad,
    }
    if out.easiness is not None:
        told["easiness"] = float(out.easiness.mean())
        told["easy_share"] = float(
            (out.easiness > 0.0).float().mean()
        )  # how many take the margin of easy samples
        spread["easiness"] = out.easiness
    points = out.target_cos.new_tensor(QUANTILES)
    for name, values in spread.items():
        for q, value in zip(
            QUANTILES, values.float().quantile(points.float()).tolist(), strict=True
        ):
            told[f"{name}_p{round(100 * q)}"] = value
    return told


def peak_mib(device: torch.device) -> float:
    """The most memory in use so far: of the CUDA device, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
