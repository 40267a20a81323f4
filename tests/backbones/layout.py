"""arcface_torch's IResNet told apart from ours: its parameter names, and its forward pass, from a state dict alone."""

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
                out |= {f"{at}.downsample.0.weight": (wide, now, 1, 1)} | _norm(f"{at}.downsample.1", wide)
            now = wide
    out |= _norm("bn2", now) | {"fc.weight": (dim, now * side * side), "fc.bias": (dim,)} | _norm("features", dim)
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


def forward(state, x, depths=R18):
    """Evaluation mode, step by step."""
    x = F.prelu(_bn(state, "bn1", F.conv2d(x, state["conv1.weight"], padding=1)), state["prelu.weight"])
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            at, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            y = F.conv2d(_bn(state, f"{at}.bn1", x), state[f"{at}.conv1.weight"], padding=1)
            y = F.prelu(_bn(state, f"{at}.bn2", y), state[f"{at}.prelu.weight"])
            y = _bn(state, f"{at}.bn3", F.conv2d(y, state[f"{at}.conv2.weight"], stride=stride, padding=1))
            if stride == 2:
                x = _bn(state, f"{at}.downsample.1", F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=2))
            x = x + y
    x = _bn(state, "bn2", x).flatten(1)
    return _bn(state, "features", F.linear(x, state["fc.weight"], state["fc.bias"]))


def _norm(name, width):
    parts = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return parts | {f"{name}.num_batches_tracked": ()}


def _bn(state, name, x):
    mean, var, gain, shift = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, gain, shift)
