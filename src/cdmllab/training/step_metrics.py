"""The metrics of a training step."""

import resource
import sys
from time import perf_counter

import torch
from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.heads import HeadOutput

QUANTILES = (0.1, 0.5, 0.9)


class Clock:
    """Images per second and the share of time spent waiting for data, since the last look."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new period."""
        self._since, self._waited, self._images = perf_counter(), 0.0, 0

    def waited(self, seconds: float, images: int) -> None:
        """Count a batch and the time spent waiting for it."""
        self._waited += seconds
        self._images += images

    def look(self) -> dict[str, float]:
        """Both values; starts a new period."""
        passed = max(perf_counter() - self._since, 1e-9)
        values = {"images_per_s": self._images / passed, "data_wait": self._waited / passed}
        self.reset()
        return values


def measures(
    out: HeadOutput, embeddings: Tensor, nearest: Tensor | None, labels: Tensor
) -> dict[str, float]:
    """Metrics of a batch; means and quantiles are over its samples.

    Parameters
    ----------
    out : output of the head for b samples
    embeddings : shape (b, d), before normalisation
    nearest : the identity of the nearest class centre, shape (b,); None without class centres
    labels : shape (b,)
    """
    metrics = {
        "loss": float(out.loss.detach()),
        "embedding_norm": float(embeddings.detach().float().norm(dim=1).mean()),
    }
    if nearest is None:
        return metrics
    # The share of samples whose nearest class centre is the positive one.
    metrics["accuracy"] = float((nearest == labels).float().mean())
    metrics["target_cos"] = float(out.target_cos.mean())
    metrics["margin_rad"] = float(out.margin_rad.mean())
    spread = {
        "target_angle_deg": torch.rad2deg(angle(out.target_cos)),
        "margin_rad": out.margin_rad,
    }
    if out.easiness is not None:
        metrics["easiness"] = float(out.easiness.mean())
        # Samples with an easiness above 0 get the margin of easy samples.
        metrics["easy_share"] = float((out.easiness > 0.0).float().mean())
        spread["easiness"] = out.easiness
    points = out.target_cos.new_tensor(QUANTILES)
    for name, values in spread.items():
        for q, value in zip(
            QUANTILES, values.float().quantile(points.float()).tolist(), strict=True
        ):
            metrics[f"{name}_p{round(100 * q)}"] = value  # such as margin_rad_p50
    return metrics


def peak_mib(device: torch.device) -> float:
    """Peak memory of the CUDA device, or of this process, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss is in bytes on macOS and in KiB on Linux.
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
