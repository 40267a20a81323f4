"""Margin heads, forward and backward: ours and their peers, as ratios to three matrix products.

    cdmllab bench heads [--rounds N] [--quick]

The limit is the minimum that every head needs: the matrix products x Wᵀ, G W and Gᵀ x, into
preallocated memory. All heads run in one process, in interleaved rounds. Memory is measured above
inputs and weights, on a CPU in a fresh process for each head. A GPU also runs a million identities.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from common import Peak, interleaved, peak_mib, write
from peers import DIM, MARGIN_RAD, SCALE, StraightThroughDense, Textbook
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn

from cdmllab import heads

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = {"casia": (128, 10_575), "ms1mv3": (256, 93_431)} | (
    {"million": (256, 1_000_000)} if DEVICE == "cuda" else {}
)


class _Ours(nn.Module):
    def __init__(self, name: str, identities: int, **options: object) -> None:
        super().__init__()
        self.head = heads.create(
            name,
            embedding_dim=DIM,
            num_identities=identities,
            scale=SCALE,
            **options,  # type: ignore[arg-type]
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.head(x, labels).loss
        return loss


class _Library(nn.Module):
    def __init__(self, identities: int) -> None:
        super().__init__()
        self.loss = ArcFaceLoss(
            identities, DIM, margin=torch.rad2deg(torch.tensor(MARGIN_RAD)).item(), scale=SCALE
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.loss(x, labels)
        return loss


MAKERS: dict[str, Callable[[int], nn.Module]] = {
    "ours, buffer": lambda c: _Ours("arcface", c, backend="blocked", keep_logits=True),
    "ours, recomputing": lambda c: _Ours("arcface", c, backend="blocked"),
    "ours, bf16 products": lambda c: _Ours("arcface", c, backend="blocked", products="bfloat16"),
    "ours, buffer, compiled": lambda c: _Ours(
        "arcface", c, backend="blocked", keep_logits=True, compiled=True
    ),
    "ours, CDML": lambda c: _Ours("cdml", c, backend="blocked", keep_logits=True),
    "ours, CDML gap": lambda c: _Ours(
        "cdml", c, backend="blocked", keep_logits=True, easiness="gap"
    ),
    "ours, dense": lambda c: _Ours("arcface", c),
    "pytorch-metric-learning": _Library,
    "textbook": Textbook,
    "arcface_torch, model of": StraightThroughDense,
}


def inputs(shape: str) -> tuple[Tensor, Tensor]:
    b, c = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(b, DIM, generator=generator), torch.randint(c, (b,), generator=generator)
    return x.to(DEVICE), y.to(DEVICE)


def step(module: nn.Module, x: Tensor, y: Tensor) -> None:
    module(x.detach().requires_grad_(), y).backward()
    for parameter in module.parameters():
        # The centres of ten heads with a million identities fit in memory, their gradients do not.
        parameter.grad = None


def limit(shape: str) -> Callable[[], None]:
    b, c = SHAPES[shape]
    x, w, g = (torch.randn(*shape_, device=DEVICE) for shape_ in ((b, DIM), (c, DIM), (b, c)))
    z, dx, dw = torch.empty_like(g), torch.empty_like(x), torch.empty_like(w)

    def products() -> None:
        torch.mm(x, w.T, out=z)
        torch.mm(g, w, out=dx)
        torch.mm(g.T, x, out=dw)

    return products


def gradient_error(shape: str) -> float:
    """Relative error of the centres' gradient with bf16 matrix products, against float32."""
    grads = []
    for name in ("ours, recomputing", "ours, bf16 products"):
        torch.manual_seed(1)
        module = made(name, SHAPES[shape][1])
        module(*inputs(shape)).backward()
        grads.append(module.head.centres.grad)
    return float((grads[0] - grads[1]).norm() / grads[0].norm())


def made(name: str, identities: int) -> nn.Module:
    """A head, with its centres initialised on the device."""
    with torch.device(DEVICE):
        return MAKERS[name](identities)


def memory(shape: str, name: str) -> float:
    module = made(name, SHAPES[shape][1])
    x, y = inputs(shape)
    step(module, x[:2], y[:2])  # libraries allocate workspaces on the first call
    with Peak() as peak:
        step(module, x, y)
    return peak.mib


def apart(shape: str, name: str) -> float:
    """Measure the memory, on a CPU in a fresh process, whose memory is measured there."""
    return memory(shape, name) if DEVICE == "cuda" else peak_mib(__file__, "--memory", shape, name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small shape only; nothing is saved")
    parser.add_argument("--memory", nargs=2, metavar=("SHAPE", "NAME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory:
        print(memory(*chosen.memory))
        return
    table = {}
    for shape in list(SHAPES)[: 1 if chosen.quick else None]:
        b, c = SHAPES[shape]
        x, y = inputs(shape)
        cases: dict[str, Callable[[], object]] = {"limit": limit(shape)}
        for name in MAKERS:
            torch.manual_seed(1)
            cases[name] = partial(step, made(name, c), x, y)
        seconds = interleaved(cases, chosen.rounds)
        # Memory, unlike time, can be measured for two heads at once.
        with ThreadPoolExecutor(1 if DEVICE == "cuda" else 2) as pool:
            peaks = dict(zip(MAKERS, pool.map(partial(apart, shape), MAKERS), strict=True))
        rows = [
            {
                "head": name,
                "ratio_to_limit": round(seconds[name] / seconds["limit"], 3),
                "peak_mib": round(peaks[name], 1),
            }
            for name in MAKERS
        ]
        cases.clear()  # frees the centres
        table[shape] = {
            "batch": b,
            "identities": c,
            "dim": DIM,
            "limit_ms": round(1e3 * seconds["limit"], 1),
            "centre_gradient_mib": round(c * DIM * 4 / 2**20, 1),
            "bf16_gradient_error": gradient_error(shape),
            "heads": rows,
        }
        print(f"\n{b} x {c:,}, d = {DIM}; limit {table[shape]['limit_ms']} ms, "
              f"centre gradient {table[shape]['centre_gradient_mib']} MiB, "
              f"bf16 gradient error {table[shape]['bf16_gradient_error']:.1e}")  # fmt: skip
        for row in rows:
            print(
                f"  {row['head']:26} {row['ratio_to_limit']:6.2f} x limit {row['peak_mib']:8.1f} "
                f"MiB"
            )
    if not chosen.quick:
        print(f"\nwritten to {write('heads', {'shapes': table})}", file=sys.stderr)


if __name__ == "__main__":
    main()
