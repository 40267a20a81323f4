"""The sharded head on two ranks, forward and backward, as ratios to the blocked head on one.

    cdmllab bench heads_sharded [--rounds N] [--quick]

Both heads see the same batch; each rank of the sharded head has half of it, and half of the class
centres. All cases run in the same two processes, in interleaved rounds; while the first rank runs
the blocked head, the second waits. With two CUDA devices each rank has one; otherwise the ranks are
two CPU processes.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from common import Peak, interleaved, write
from torch import Tensor

from cdmllab import heads
from cdmllab._util.files import write_text

DIM, SCALE, RANKS = 512, 64.0, 2
SHAPES = {"casia": (128, 10_575), "ms1mv3": (256, 93_431)}
BLOCKED = "blocked, one rank"
CASES = {
    BLOCKED: {"backend": "blocked"},
    "sharded": {"backend": "sharded"},
    "sharded, 0.1 of the centres": {"backend": "sharded", "sample_rate": 0.1},
}


def case(name: str, shape: str, rank: int, device: str) -> Callable[[], None]:
    """One step of a case on this rank; a no-op if the blocked head does not use the rank."""
    b, c = SHAPES[shape]
    if name == BLOCKED and rank:
        return lambda: None
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(b, DIM, generator=generator), torch.randint(c, (b,), generator=generator)
    if name != BLOCKED:
        x, y = x.chunk(RANKS)[rank], y.chunk(RANKS)[rank]
    x, y = x.to(device), y.to(device)
    options = {"embedding_dim": DIM, "num_identities": c, "scale": SCALE, **CASES[name]}
    head = heads.create("arcface", **options).to(device)  # type: ignore[arg-type]

    def step(x: Tensor = x, y: Tensor = y) -> None:
        head.zero_grad()
        head(x.detach().requires_grad_(), y).loss.backward()

    step(x[:2], y[:2])  # libraries allocate workspaces on the first call
    head.zero_grad()
    return step


def work(rank: int, folder: Path, shape: str, rounds: int) -> None:
    """Measure times, or memory with 0 rounds, on one rank; rank 0 writes the results."""
    torch.set_num_threads(1)
    device = f"cuda:{rank}" if torch.cuda.device_count() >= RANKS else "cpu"
    if device != "cpu":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device != "cpu" else "gloo",
        init_method=f"file://{folder}/meet-{shape}-{rounds}",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(minutes=10),
    )
    if rounds:
        with contextlib.redirect_stderr(io.StringIO() if rank else sys.stderr):  # one progress only
            result = interleaved({name: case(name, shape, rank, device) for name in CASES}, rounds)
    else:
        result = {name: _peak_mib(case(name, shape, rank, device)) for name in CASES}
    if rank == 0:
        write_text(folder / f"{shape}-{rounds}.json", json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()


def _peak_mib(step: Callable[[], None]) -> float:
    with Peak() as peak:
        step()
    return peak.mib


def measured(folder: Path, shape: str, rounds: int) -> dict[str, float]:
    mp.spawn(work, (folder, shape, rounds), nprocs=RANKS)
    result: dict[str, float] = json.loads((folder / f"{shape}-{rounds}.json").read_text())
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small shape only; nothing is saved")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    # See `common.peak_mib`: freed memory has to be returned to the system.
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
    }
    if torch.cuda.device_count() < RANKS:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for shape in list(SHAPES)[: 1 if chosen.quick else None]:
            b, c = SHAPES[shape]
            memory, seconds = (
                measured(Path(folder), shape, 0),
                measured(Path(folder), shape, chosen.rounds),
            )
            blocked = seconds[BLOCKED]
            rows = [
                {
                    "head": name,
                    "ratio_to_blocked": round(took / blocked, 3),
                    "peak_mib": round(memory[name], 1),
                }
                for name, took in seconds.items()
            ]
            table[shape] = {
                "batch": b,
                "identities": c,
                "dim": DIM,
                "ranks": RANKS,
                "blocked_ms": round(1e3 * blocked, 1),
                "centre_gradient_mib": round(c * DIM * 4 / 2**20, 1),
                "heads": rows,
            }
            print(f"\n{b} x {c:,}, d = {DIM}, {RANKS} ranks; blocked head {1e3 * blocked:.1f} ms, "
                  f"centre gradient {table[shape]['centre_gradient_mib']} MiB")  # fmt: skip
            for row in rows:
                print(
                    f"  {row['head']:28} {row['ratio_to_blocked']:6.2f} x blocked "
                    f"{row['peak_mib']:8.1f} MiB per rank"
                )
    if not chosen.quick:
        print(f"\nwritten to {write('heads_sharded', {'shapes': table})}", file=sys.stderr)


if __name__ == "__main__":
    main()
