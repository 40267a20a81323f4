"""Diagnose a run with NaN or infinite values: record the step and its likely cause."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cdmllab._util.files import write_text
from cdmllab.errors import CdmlLabError

FILE = "diagnosis.json"


class DivergenceError(CdmlLabError, FloatingPointError):
    """The loss, an embedding or a gradient is NaN or infinite."""


def stop(
    run: Path,
    problem: str,
    *,
    step: int,
    epoch: int,
    lr: float,
    precision: str,
    rows: Tensor,
    embeddings: Tensor,
    parameters: dict[str, nn.Parameter],
    images: Tensor,
    gradient_norm: float | None,
) -> DivergenceError:
    """Write the diagnosis to the run's folder and return the error to raise."""
    broken = [name for name, p in parameters.items() if not torch.isfinite(p).all()]
    bad = (~torch.isfinite(embeddings.detach())).any(dim=1)
    facts: dict[str, Any] = {
        "what": problem,
        "step": step,
        "epoch": epoch,
        "lr": lr,
        "precision": precision,
        "gradient_norm_of_the_step_before": gradient_norm,
        "rows": rows.tolist(),
        "pixels": [float(images.float().min()), float(images.float().max())],
        "embeddings_not_finite": int(bad.sum()),
        # NaN and infinity are counted above; this is the largest of the finite values.
        "largest_embedding": float(
            embeddings.detach().nan_to_num(posinf=0.0, neginf=0.0).abs().max()
        ),
        "parameters_not_finite": broken,
    }
    facts["likely_cause"] = _cause(facts)
    write_text(run / FILE, json.dumps(facts, indent=1) + "\n")
    return DivergenceError(
        f"{problem} at step {step} (epoch {epoch}), in a batch of {len(rows)} images from row "
        f"{int(rows[0])}; "
        f"likely cause: {facts['likely_cause']}; see {run / FILE}"
    )


def _cause(facts: dict[str, Any]) -> str:
    # In the order of certainty: a broken parameter explains everything after it.
    if facts["parameters_not_finite"]:
        norm = facts["gradient_norm_of_the_step_before"]
        before = f" (the gradient's norm was {norm:.3g})" if norm is not None else ""
        return (
            f"after the step before, {facts['parameters_not_finite'][0]} is not finite{before}: "
            f"a learning rate of {facts['lr']:g} is too high, or needs a warm-up or clip_norm"
        )
    if facts["precision"] == "float16":
        return "float16 overflows at 65,504; bfloat16 has the range of float32"
    if facts["embeddings_not_finite"]:
        return f"embeddings overflowed: a learning rate of {facts['lr']:g} is too high"
    return "values in the head overflowed: its scale or the learning rate is too high"
