"""Faster ways to compute the same function, each against plain float32."""

import copy
import subprocess
import sys

import pytest
import torch

from cdmllab import backbones

OPTIONS = {
    "r18_lite": {"width": 16, "embedding_dim": 16, "size": 32},
    "lightweight": {"embedding_dim": 16, "size": 32},
    "small": {"width": 16, "embedding_dim": 16},
    "ir_18": {"width": 16, "embedding_dim": 16, "size": 32, "dropout": 0.0},
}
# Of the embeddings, relative to their length: rounding of sums; 8 and 11 bits of mantissa through
# 20 layers.
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}


@pytest.fixture(params=OPTIONS)
def net(request):
    torch.manual_seed(0)
    made = backbones.create(request.param, **OPTIONS[request.param])
    with torch.no_grad():
        for _ in range(20):
            made(images(made))  # running means that fit
    return made


def images(net):
    x = torch.randn(8, 3, net.size, net.size, generator=torch.Generator().manual_seed(2))
    return x.to(next(net.parameters()).dtype)


def step(net, **options):
    """Embeddings, gradients and state after one training step of a copy."""
    twin = copy.deepcopy(net).speed_up(**options).train()
    out = twin(images(net))
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    (out * weights).sum().backward()
    grads = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
    return out.detach(), grads, twin.state_dict()


def flat(grads):
    return torch.cat([grad.flatten() for grad in grads.values()])


def error(got, want):
    return ((got - want).norm() / want.norm()).item()


@pytest.mark.parametrize(
    ("features", "fast"),
    [({"amx_bf16": True}, "bfloat16"), ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
     ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"), ({}, "float32")],
)  # fmt: skip
def test_fast_precision_follows_the_processor(monkeypatch, features, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert backbones.fast_precision(torch.device("cpu")) == fast


@pytest.mark.parametrize(("able", "fast"), [(True, "bfloat16"), (False, "float32")])
def test_fast_precision_ignores_emulation_on_a_gpu(monkeypatch, able, fast):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation: able and not including_emulation,
    )
    assert backbones.fast_precision(torch.device("cuda")) == fast


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_embeddings_agree_with_plain_float32(net, precision, channels_last):
    net.eval()
    fast = copy.deepcopy(net).speed_up(precision=precision, channels_last=channels_last)
    with torch.no_grad():
        got, want = fast(images(net)), net(images(net))
    assert got.dtype == torch.float32
    assert error(got, want) < TOLERANCE[precision]
    if precision != "float32":
        assert not torch.equal(got, want)  # else nothing was done in the lower precision


@pytest.mark.parametrize("options", [{"channels_last": True}, {"checkpointing": True}], ids=str)
def test_training_step_is_the_plain_one(net, options):
    """In float64, where the order of sums does not show."""
    out, grads, state = step(net.double())
    fast_out, fast_grads, fast_state = step(net, **options)
    assert list(fast_grads) == list(grads)
    torch.testing.assert_close(fast_out, out)
    assert error(flat(fast_grads), flat(grads)) < 1e-9
    for name, value in state.items():
        torch.testing.assert_close(fast_state[name], value, msg=name)


def test_bfloat16_gradients_point_the_same_way():
    torch.manual_seed(0)
    net = backbones.create("small", **OPTIONS["small"])
    _, grads, _ = step(net)
    _, rough, _ = step(net, precision="bfloat16")
    assert torch.cosine_similarity(flat(grads), flat(rough), dim=0) > 0.99


def test_checkpointing_saves_memory():
    """The number of values that the graph saves between forward and backward pass."""
    torch.manual_seed(0)
    net = backbones.create("r50", width=4, embedding_dim=4, size=64)

    def saved(**options):
        twin, kept = copy.deepcopy(net).speed_up(**options), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.numel()) or t, lambda t: t
        ):
            twin(images(net))
        return sum(kept)

    assert saved(checkpointing=True) < 0.5 * saved()


def test_outer_autocast_keeps_the_output_part_in_float32(net):
    net.eval()
    inside = {}
    linear = next(part for part in net.modules() if isinstance(part, torch.nn.Linear))
    linear.register_forward_hook(
        lambda _, inputs, out: inside.update(fc=(inputs[0].dtype, out.dtype))
    )
    with torch.autocast("cpu", torch.bfloat16):
        out = net(images(net))
    assert inside["fc"] == (torch.float32, torch.float32)
    assert out.dtype == torch.float32


def test_compiled_agrees_and_keeps_the_names_of_parameters():
    torch.manual_seed(0)
    net = backbones.create("small", width=4, embedding_dim=8, size=8).eval()
    fast = copy.deepcopy(net).speed_up(compiled=True, channels_last=True)
    with torch.no_grad():
        assert error(fast(images(net)), net(images(net))) < 1e-5
    assert list(fast.state_dict()) == list(net.state_dict())


def test_speed_up_without_options_undoes_the_last_one():
    net = backbones.create("small", width=4).eval()
    want = net(images(net))
    net.speed_up(precision="bfloat16", channels_last=True).speed_up()
    assert torch.equal(net(images(net)), want)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": "int8"}, "one of float32, bfloat16, float16, got 'int8'"),
     ({"checkpointing": True, "compiled": True}, "exclude each other")],
)  # fmt: skip
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        backbones.create("small").speed_up(**options)


@pytest.mark.parametrize(("width", "kept"), [(15, False), (16, True)])
def test_channels_come_last_unless_the_network_is_too_narrow(width, kept):
    net = backbones.create("small", width=width).speed_up(channels_last=True)
    kernels = [p for p in net.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last) == kept for p in kernels)


def test_narrow_networks_get_the_gradients_of_wider_arithmetic():
    """In float32 with channels last, in a child process: oneDNN's bug may crash or hang it."""
    code = """
import torch
from cdmllab import backbones
torch.set_num_threads(1)
torch.manual_seed(0)
images = torch.randn(32, 16, 16, 3).permute(0, 3, 1, 2)  # channels last, as a camera gives them
weights = torch.randn(32, 4)
for width in (2, 4, 15, 16):
    net = backbones.create("small", embedding_dim=4, size=16, width=width)
    gradients = []
    for options in ({}, {"channels_last": True}):
        for dtype in (torch.float64, torch.float32):
            net = net.to(dtype).speed_up(**options)
            (net(images.to(dtype)) * weights.to(dtype)).sum().backward()
            gradients.append(torch.cat([p.grad.flatten().double() for p in net.parameters()]))
            net.zero_grad()
    for gradient in gradients[1:]:
        error = (gradient - gradients[0]).norm() / gradients[0].norm()
        assert error < 1e-3, (width, error)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
