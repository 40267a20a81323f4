"""The heads and batches that tests of all backends share."""

import torch
from tests.oracles import class_sizes

from cdmllab import heads, margins

# Every loss, and the options that lead another way through a head.
VARIANTS = [(name, {}) for name in margins.names()] + [
    ("arcface", {"gradient": "straight_through"}),
    ("arcface", {"beyond_pi": "none"}),
    ("normface", {"learn_scale": True}),
    ("curricularface", {"learn_scale": True}),
    ("cdml", {"easiness": "gap", "shape": "linear", "favour": "hard", "detach_margin": False}),
    ("cdml", {"easiness": "angle_gap", "shape": "linear", "class_weight": 0.3, "match_mean": True}),
    ("elasticface", {"margin_rad": None, "margin_cos": 0.35, "plus": True}),
    ("mv_softmax", {"margin_cos": 0.0, "margin_rad": 0.5, "reweight": "fixed"}),
    ("adacos", {"dynamic": False}),
    ("subcenter_arcface", {"centres_per_identity": 2, "gradient": "straight_through"}),
    ("sphereface2", {"gradient": "straight_through"}),
    ("sphereface2", {"learn_scale": True, "t": 2.0}),
    ("uniface", {"learn_scale": True, "negative_weight": 0.5, "clip_logits": True}),
    ("logit_adjustment", {"learn_scale": True, "tau": 0.5}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}".rstrip("-") for name, options in VARIANTS]


def data(b=6, c=9, d=5, seed=0, dtype=torch.float64):
    """Embeddings of quite different lengths, and labels with a repetition."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(b, d, generator=generator, dtype=torch.float64) * torch.linspace(
        1, 30, b
    ).unsqueeze(1)
    y = torch.randint(0, c, (b,), generator=generator)
    y[-1] = y[0]
    return x.to(dtype), y


def make(name="arcface", backend="dense", c=9, d=5, scale=8.0, dtype=torch.float64, **options):
    """A head whose first class centres are near the first embeddings, so that all angles occur."""
    if backend != "dense":
        options = {"block": 4, **options}  # three blocks, the last one short
    generator = torch.Generator().manual_seed(3)
    head = heads.create(
        name,
        embedding_dim=d,
        num_identities=c,
        scale=scale,
        backend=backend,
        class_sizes=class_sizes(c),
        **options,
    ).double()
    k = head.policy.centres_per_identity
    centres = torch.randn(c * k, d, generator=generator, dtype=torch.float64)
    x, y = data(c=c, d=d)
    centres[y[:3] * k] = 2.0 * x[:3] / x[:3].norm(dim=1, keepdim=True) + 0.5 * centres[y[:3] * k]
    held = head.held if backend == "sharded" else range(c)
    with torch.no_grad():
        head.centres.copy_(centres[held.start * k : held.stop * k])
    return head.to(dtype)


def gradients(head, x, y):
    x = x.clone().requires_grad_()
    out = head(x, y)
    out.loss.backward()
    return out, [x.grad, *(p.grad for p in head.parameters())]
