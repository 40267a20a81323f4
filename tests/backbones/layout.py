"""arcface_torch's IResNet, independent of ours: parameter names and a forward pass."""

import hashlib

import torch
import torch.nn.functional as F

R18 = (2, 2, 2, 2)


def shapes(depths=R18, width=64, dim=512, side=7):
    """Names and shapes of a checkpoint, as arcface_torch's iresnet.py gives them."""
    out = {"conv1.weight": (width, 3, 3, 3), **_norm("bn1", width), "prelu.weight": (width,)}
    now = width
    for stage, depth in enumerate(depths, start=1):
        wide = width * 2 ** (stage - 1)
        for block in range(depth):
            at = f"layer{stage}.{block}"
            out |= _norm(f"{at}.bn1", now) | {f"{at}.conv1.weight": (wide, now, 3, 3)}
            out |= _norm(f"{at}.bn2", wide) | {f"{at}.prelu.weight": (wide,)}
            out |= {f"{at}.conv2.weight": (wide, wide, 3, 3)} | _norm(f"{at}.bn3", wide)
            if block == 0:
                out |= {f"{at}.downsample.0.weight": (wide, now, 1, 1)} | _norm(
                    f"{at}.downsample.1", wide
                )
            now = wide
    out |= (
        _norm("bn2", now)
        | {"fc.weight": (dim, now * side * side), "fc.bias": (dim,)}
        | _norm("features", dim)
    )
    return out


def checkpoint(depths=R18, width=64, dim=512, side=7, seed=0):
    """Random weights under those names, of sizes a trained network could have."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(depths, width, dim, side).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) > 1:
            fan_in = torch.tensor(shape[1:]).prod().item()
            state[name] = torch.randn(shape, generator=generator) * fan_in**-0.5
        elif name.endswith(".weight"):
            state[name] = 0.25 + 0.5 * torch.rand(shape, generator=generator)
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
    return state


def forward(state, x, depths=R18, eps=1e-5):
    """Evaluation mode, step by step."""

    def norm(name, x):
        return _bn(state, name, x, eps)

    x = F.prelu(norm("bn1", F.conv2d(x, state["conv1.weight"], padding=1)), state["prelu.weight"])
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            at, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            y = F.conv2d(norm(f"{at}.bn1", x), state[f"{at}.conv1.weight"], padding=1)
            y = F.prelu(norm(f"{at}.bn2", y), state[f"{at}.prelu.weight"])
            y = norm(
                f"{at}.bn3", F.conv2d(y, state[f"{at}.conv2.weight"], stride=stride, padding=1)
            )
            if stride == 2:
                x = norm(
                    f"{at}.downsample.1", F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=2)
                )
            x = x + y
    x = norm("bn2", x).flatten(1)
    return norm("features", F.linear(x, state["fc.weight"], state["fc.bias"]))


def _norm(name, width):
    parts = {
        f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")
    }
    return parts | {f"{name}.num_batches_tracked": ()}


def _bn(state, name, x, eps):
    mean, var, gain, shift = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, gain, shift, eps=eps)


def digest(shapes):
    """One number for the names and shapes of a checkpoint, in their order."""
    lines = "".join(f"{name} {'x'.join(map(str, shape))}\n" for name, shape in shapes.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def shapes_of(state):
    return {name: tuple(value.shape) for name, value in state.items()}


@torch.no_grad()
def by_formula(net):
    """Give a network weights by a reproducible formula, in float64; evaluation mode."""
    net.double().eval()
    for k, (name, value) in enumerate(net.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        wave = torch.sin(0.7 * k + 1.3 * (torch.arange(value.numel(), dtype=torch.float64) % 1009))
        wave = wave.view(value.shape)
        if value.ndim > 1:
            value.copy_(wave * (2.0 / value[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            value.copy_(1.0 + 0.5 * wave)
        else:
            value.copy_(0.5 + 0.25 * wave if name.endswith("weight") else 0.1 * wave)
    return net


def images_by_formula(size=112):
    """Two images, float64 of shape (2, 3, size, size)."""
    b, c, h, w = (torch.arange(n, dtype=torch.float64) for n in (2, 3, size, size))
    phase = 0.9 * b.view(2, 1, 1, 1) + 0.5 * c.view(3, 1, 1) + 0.11 * h.view(-1, 1) + 0.07 * w
    return torch.sin(phase * (1.0 + 0.2 * c.view(3, 1, 1)))
