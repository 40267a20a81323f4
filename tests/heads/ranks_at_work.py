"""The work of the processes in the sharded head's tests; `test_sharded.py` checks the results."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from tests.heads.probes import COMBINATIONS, probe_head, steps
from tests.heads.variants import VARIANTS, data, gradients, make
from tests.waiting import LIMIT_S
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from cdmllab import heads
from cdmllab.training import checkpoint

IDENTITIES = 10  # 5 + 5, or 4 + 4 + 2
BATCH = 12  # on all ranks together
DTYPES = (torch.float64, torch.float32)
SAVED = [
    ("softmax", {}),
    ("subcenter_arcface", {"learn_scale": True, "centres_per_identity": 2}),
    ("cdml", {"easiness": "gap", "shape": "linear", "class_weight": 0.3}),
    ("arcface", {"sample_rate": 0.5, "sample_seed": 7}),
    ("elasticface", {}),
    ("uniface", {}),
    ("logit_adjustment", {}),
]
TIED = {"easiness": "gap", "shape": "linear", "detach_margin": False}
SAMPLED = [
    (name, {"sample_rate": 0.6})
    for name in (
        "softmax",
        "arcface",
        "adacos",
        "npcface",
        "subcenter_arcface",
        "logit_adjustment",
        "sphereface2",
    )
]
SAMPLED.append(("cdml", {"easiness": "gap", "sample_rate": 0.6}))


def batch(dtype=torch.float64, c=IDENTITIES, seed=0):
    x, y = data(BATCH, c, seed=seed, dtype=dtype)
    y[4] = -1
    return x, y


def part(values, rank, size):
    """A rank's share of a batch."""
    return values.chunk(size)[rank]


def three_steps(head, x, y):
    """The last of three forward and backward passes, between which running statistics change."""
    head.set_progress(0.5)
    for _ in range(3):
        head.zero_grad()
        out, (d_x, *_) = gradients(head, x, y)
    grads = {name: parameter.grad for name, parameter in head.named_parameters()}
    out = out._replace(loss=out.loss.detach(), sample_loss=out.sample_loss.detach())
    return {"out": out._asdict(), "d_x": d_x, "grads": grads, "state": head.state_dict()}


def every_loss(rank, size, folder):
    results = {}
    for dtype in DTYPES:
        x, y = (part(values, rank, size) for values in batch(dtype))
        for i, (name, options) in enumerate(VARIANTS):
            keep = dtype == torch.float64
            head = make(name, "sharded", IDENTITIES, dtype=dtype, keep_logits=keep, **options)
            results[i, dtype] = three_steps(head, x, y)
    return results


def sampled(rank, size, folder):
    x, y = (part(values, rank, size) for values in batch())
    return [
        three_steps(make(name, "sharded", IDENTITIES, keep_logits=True, **options), x, y)
        for name, options in SAMPLED
    ]


WEIGHTED = [
    ("arcface", {}),
    ("magface", {"learn_scale": True}),
    ("cdml", {"easiness": "gap"}),
    ("npcface", {}),
    ("softmax", {}),
    ("adacos", {}),
    ("arcface", {"sample_rate": 0.6}),
]
WEIGHTS = torch.linspace(0.0, 2.0, BATCH, dtype=torch.float64)


def weighted_step(head, x, y, weights, also_mean=False):
    """Gradients of the weighted sum over the samples not ignored, divided by the batch size."""
    x = x.clone().requires_grad_()
    out, kept = head(x, y), y != -1
    loss = (weights[kept] * out.sample_loss[kept]).sum() / len(x)
    (loss + 2.0 * out.loss if also_mean else loss).backward()
    grads = {name: parameter.grad for name, parameter in head.named_parameters()}
    return {"loss": loss.detach(), "d_x": x.grad, "grads": grads}


def weighted(rank, size, folder):
    x, y, weights = (part(values, rank, size) for values in (*batch(), WEIGHTS))
    return [
        weighted_step(make(name, "sharded", IDENTITIES, **options), x, y, weights, also_mean)
        for name, options in WEIGHTED
        for also_mean in (False, True)
    ]


def observed(rank, size, folder):
    x, y = (part(values, rank, size) for values in batch())
    return [
        steps(probe_head("sharded", combination, IDENTITIES), x, y) for combination in COMBINATIONS
    ]


def filtered(rank, size, folder):
    x, y = (part(values, rank, size) for values in batch())
    options = {"interclass_filtering_threshold": 0.4}
    return [
        steps(probe_head("sharded", combination, IDENTITIES, **options), x, y)
        for combination in COMBINATIONS
    ]


def plain_logits(rank, size, folder):
    x, _ = (part(values, rank, size) for values in batch())
    result = {
        name: make(name, "sharded", IDENTITIES).logits(x)
        for name in ("softmax", "arcface", "subcenter_arcface")
    }
    head, last = make("arcface", "sharded", IDENTITIES), rank == size - 1
    result["uneven"] = _complaint(lambda: head.logits(x[: 1 if rank else 2]))
    result["gradient"] = _complaint(lambda: head.logits(x.clone().requires_grad_(last)))
    result["shape"] = _complaint(lambda: head.logits(x[:, :4] if last else x))
    return result


def odd_centres(rank, size, folder):
    """Centres of the last rank that are very long, or not finite."""
    x, y = (part(values, rank, size) for values in batch(torch.float32))
    long, spoilt = (
        make("cdml", "sharded", IDENTITIES, dtype=torch.float32, easiness="gap") for _ in range(2)
    )
    with torch.no_grad():
        if rank == size - 1:
            long.centres *= 1e25
            spoilt.centres[-1, 2] = torch.nan
    out, (d_x, d_centres, *_) = gradients(long, x, y)
    return {
        "loss": out.loss.detach(),
        "d_x": d_x,
        "d_centres": d_centres,
        "message": _complaint(lambda: spoilt(x, y)),
    }


def few_identities(rank, size, folder):
    """Fewer identities than ranks, so that one of three ranks has none."""
    results = {}
    for name in ("softmax", "subcenter_arcface", "cdml", "npcface"):
        options = {"easiness": "gap"} if name == "cdml" else {}
        x, y = (part(values, rank, size) for values in batch(c=2))
        results[name] = three_steps(make(name, "sharded", 2, keep_logits=True, **options), x, y)
    return results


def few_identities_saved(rank, size, folder):
    """Class centres before they are saved and after they are loaded."""
    head = make("arcface", "sharded", 2)
    before = head.centres.detach().clone()
    checkpoint.write(folder / f"few-{size}", {"head": heads.sharded_state_dict(head)})
    with torch.no_grad():
        head.centres.fill_(torch.nan)
    checkpoint.read(folder / f"few-{size}", {"head": heads.sharded_state_dict(head)})
    return before, head.centres.detach()


def tie(head):
    """Give the first and the last identity the same centre: an axis, so that all cosines to the two
    are equal.
    """
    held = getattr(head, "held", range(IDENTITIES))
    with torch.no_grad():
        for identity in (0, IDENTITIES - 1):
            if identity in held:
                head.centres[identity - held.start] = torch.eye(5)[0]


def tied_batch():
    """A batch with a sample near that axis."""
    x, y = batch()
    x[7, 0] = 100.0
    return x, y


def tied(rank, size, folder):
    head = make("cdml", "sharded", IDENTITIES, **TIED)
    tie(head)
    return three_steps(head, *(part(values, rank, size) for values in tied_batch()))


def ignored(rank, size, folder):
    x, y = (part(values, rank, size) for values in batch())
    nothing = torch.full_like(y, -1)
    some = three_steps(
        make("cdml", "sharded", IDENTITIES, easiness="gap"), x, y if rank else nothing
    )
    none = three_steps(make("cdml", "sharded", IDENTITIES, easiness="gap"), x, nothing)
    return some, none


def first_centres(rank, size, folder):
    """The class centres of a rank and their number, by `centre_init`."""
    result = {}
    for init in ("unit", "normal_0.01"):
        torch.manual_seed(5)
        big = heads.create(
            "arcface", embedding_dim=2, num_identities=10_001, backend="sharded", centre_init=init
        )
        result[init] = big.centres.detach(), len(big.held)
    return result


class Net(nn.Module):
    """A network whose embeddings have lengths in the range of MagFace's margin."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(5) + 0.1)

    def forward(self, x):
        return self.linear(x)


def train(network, head, steps, rank=0, size=1):
    """Train network and head with SGD and return the final weights."""
    optimiser = SGD(
        [*network.parameters(), *head.parameters()], lr=0.05, momentum=0.9, weight_decay=5e-4
    )
    for step in range(steps):
        x, y = (part(values, rank, size) for values in batch(seed=step))
        optimiser.zero_grad()
        head(network(x), y).loss.backward()
        optimiser.step()
    weights = {name: value.detach() for name, value in head.named_parameters()}
    return {"network": next(network.parameters()).detach(), **weights}


def with_a_network(rank, size, folder):
    head = make("magface", "sharded", IDENTITIES, learn_scale=True)
    return train(DistributedDataParallel(Net()), head, 3, rank, size)


def learner(name, options):
    head = make(name, "sharded", IDENTITIES, **options)
    return head, SGD(head.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def learn(head, optimiser, steps, rank=0, size=1):
    for step in steps:
        x, y = (part(values, rank, size) for values in batch(seed=step))
        optimiser.zero_grad()
        out = head(x, y)
        out.loss.backward()
        optimiser.step()
    return out.loss.detach()


def resumed(rank, size, folder):
    """Two steps from the checkpoint of the previous run, if any; saves one for the next run."""
    first, before = {2: (0, None), 1: (2, 2), 3: (4, 1)}[size]
    losses = []
    for i, (name, options) in enumerate(SAVED):
        head, optimiser = learner(name, options)
        if before is not None:
            with torch.no_grad():
                head.centres.fill_(torch.nan)
            checkpoint.read(
                folder / f"{before}/{i}", {"head": heads.sharded_state_dict(head, optimiser)}
            )
        losses.append(learn(head, optimiser, range(first, first + 2), rank, size))
        checkpoint.write(
            folder / f"{size}/{i}", {"head": heads.sharded_state_dict(head, optimiser)}
        )
    return losses


def norms(rank, size, folder):
    head = make("softmax", "sharded", IDENTITIES)
    gradients(head, *(part(values, rank, size) for values in batch()))
    views = [head.global_view(value.grad) for value in head.sharded_parameters().values()]
    return nn.utils.get_total_norm(views).full_tensor(), [tuple(tensor.shape) for tensor in views]


def nearest(rank, size, folder):
    x, _ = (part(values, rank, size) for values in tied_batch())
    result = {}
    for name in ("softmax", "arcface", "subcenter_arcface"):
        head = make(name, "sharded", IDENTITIES)
        if name == "arcface":
            tie(head)
        result[name] = head.nearest(x)
    result["uneven"] = _complaint(lambda: head.nearest(x[: 1 if rank else 2]))
    return result


def _complaint(call: Callable[[], object]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no complaint"


def refused(rank, size, folder):
    last = rank == size - 1
    head = make("arcface", "sharded", IDENTITIES)
    x, y = (part(values, rank, size) for values in batch())
    known = torch.zeros(len(x))
    assert torch.equal(head(x, y.tolist() if last else y).loss, head(x, y).loss)
    narrower = heads.create(
        "arcface", embedding_dim=5, num_identities=9 if last else 10, backend="sharded"
    ).double()
    cases = {
        "label": lambda: head(x, y.index_fill(0, torch.tensor([2]), 10) if last else y),
        "nan": lambda: head(x.index_fill(0, torch.tensor([1]), torch.nan) if last else x, y),
        "both": lambda: head(x[:, :4], y),
        "size": lambda: head(x[: 3 if last else 4], y[: 3 if last else 4]),
        "dtype": lambda: head(x.float() if last else x, y),
        "known": lambda: head(x, y, known if last else None),
        "array": lambda: head(x.numpy() if last else x, y),
        "words": lambda: head(x, "0123" if last else y),
        "known out of range": lambda: head(x, y, known + 2.0 if last else known),
        "gradient": lambda: head(x.clone().requires_grad_(last), y),
        "mode": lambda: head.train(not last)(x, y),
        "identities": lambda: narrower(x, y),
    }
    messages = {name: _complaint(case) for name, case in cases.items()}
    return messages, head.train()(x, y).loss.detach()


SCENARIOS = (
    every_loss,
    sampled,
    weighted,
    observed,
    filtered,
    plain_logits,
    odd_centres,
    few_identities,
    few_identities_saved,
    tied,
    ignored,
    first_centres,
    with_a_network,
    resumed,
    norms,
    nearest,
    refused,
)


def work(rank: int, size: int, folder: Path) -> None:
    """Run every scenario in one process, with results in ``folder/<size>-<rank>.pt``."""
    torch.set_num_threads(1)
    early = make("arcface", "sharded", IDENTITIES)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet-{size}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=LIMIT_S),
    )
    results = {scenario.__name__: scenario(rank, size, folder) for scenario in SCENARIOS}
    results["built too early"] = _complaint(lambda: early(*batch()))
    torch.save(results, folder / f"{size}-{rank}.pt")
    dist.destroy_process_group()
