"""One training step, from forward pass to optimiser: our modes and a model of arcface_torch.

    cdmllab bench training [--rounds N] [--batch N] [--models NAME ...]

The images are random and already in memory, so the time is that of network, head and optimiser, for
10,575 identities. The peer computes as arcface_torch does: the trunk under float16 autocast
(bfloat16 on a CPU, which has no fast float16), channels-first images, a dense head with the margin
in place, and gradients clipped at 5. One thread is used on a CPU.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import torch
from common import interleaved, write
from peers import DIM, StraightThroughDense
from torch import Tensor, nn

from cdmllab import backbones, heads
from cdmllab.backbones import complexity

IDENTITIES, SIZE = 10_575, 112
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EAGER, PEER = "eager float32", "arcface_torch, model of"
HALF = {"precision": "bfloat16", "channels_last": True}
WAYS: dict[str, dict[str, object]] = {
    EAGER: {},
    "channels last": {"channels_last": True},
    "bf16": {"precision": "bfloat16"},
    "bf16, channels last": HALF,
    "bf16, channels last, compiled": {**HALF, "compiled": True},
}
DEFAULTS = {"cpu": (["r18_lite", "r50"], 32), "cuda": (["r18_lite", "r50"], 512)}


class Ours:
    """Backbone, blocked head and SGD, combined as in `cdmllab train`."""

    def __init__(self, name: str, **speed: object) -> None:
        torch.manual_seed(0)
        # type: ignore[arg-type]
        self.backbone = backbones.create(name).to(DEVICE).train().speed_up(**speed)
        self.head = heads.create(
            "arcface", embedding_dim=DIM, num_identities=IDENTITIES, backend="blocked"
        )
        self.head.to(DEVICE).train()
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.head(self.backbone(images), labels).loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


class Peer:
    """A model of arcface_torch's step: half precision, channels first, dense head, clipping."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        half = "float16" if DEVICE == "cuda" else "bfloat16"
        self.backbone: nn.Module = (
            backbones.create(name).to(DEVICE).train().speed_up(precision=half)
        )
        self.head = StraightThroughDense(IDENTITIES).to(DEVICE).train()
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.amp.GradScaler(DEVICE, enabled=DEVICE == "cuda")

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.scaler.scale(self.head(self.backbone(images), labels)).backward()
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.backbone.parameters(), 5.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()


def measure(name: str, batch: int, rounds: int) -> dict[str, object]:
    torch.compiler.reset()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, SIZE, SIZE, generator=generator).to(DEVICE)
    labels = torch.randint(IDENTITIES, (batch,), generator=generator).to(DEVICE)
    steps: dict[str, Callable[[Tensor, Tensor], None]] = {
        way: Ours(name, **speed) for way, speed in WAYS.items()
    }
    steps[PEER] = Peer(name)
    print(f"{name}, batch {batch}", file=sys.stderr)
    seconds = interleaved(
        {way: partial(step, images, labels) for way, step in steps.items()}, rounds
    )
    return {
        "backbone": name,
        "gmacs": complexity.cost(backbones.create(name)).gmacs,
        "batch": batch,
        "ways": [
            {
                "way": way,
                "images_per_s": round(batch / taken, 2),
                "ratio_to_eager": round(seconds[EAGER] / taken, 3),
                "ratio_to_arcface_torch": round(seconds[PEER] / taken, 3),
            }
            for way, taken in seconds.items()
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    names, batch = DEFAULTS[DEVICE]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--models", nargs="+", default=names)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    results = [measure(name, chosen.batch, chosen.rounds) for name in chosen.models]
    for result in results:
        print(
            f"\n{result['backbone']}, batch {result['batch']}, {IDENTITIES:,} identities, {DEVICE}"
        )
        for way in result["ways"]:  # type: ignore[attr-defined]
            print(f"  {way['way']:30} {way['images_per_s']:9.2f} images/s  "
                  f"{way['ratio_to_eager']:6.2f} x eager"
                  f"  {way['ratio_to_arcface_torch']:6.2f} x arcface_torch")  # fmt: skip
    if (chosen.models, chosen.batch) == (names, batch):
        values = {"rounds": chosen.rounds, "identities": IDENTITIES, "models": results}
        print(f"\nwritten to {write('training', values)}", file=sys.stderr)


if __name__ == "__main__":
    main()
