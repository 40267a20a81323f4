"""On a CUDA device: results equal the CPU's, and a training runs in every mode."""

import numpy as np
import pytest
import torch
from tests.oracles import class_sizes

from cdmllab import backbones, evaluate, heads, margins
from cdmllab.data import transforms
from cdmllab.faces import FaceWorld, protocols
from cdmllab.training import Config, resume, train

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # compilers and drivers have much to say
]

WORLD = {"name": "lab", "num_identities": 24, "images_per_identity": 16, "size": 48, "workers": 2}
TOY = {
    "name": "toy",
    "data": WORLD,
    "backbone": {"name": "small", "embedding_dim": 64, "size": 48},
    "loss": {
        "name": "cdml",
        "scale": 16.0,
        "margin_rad": 0.3,
        "match_mean": True,
        "backend": "blocked",
    },
    "optimiser": {"lr": 0.1},
    "epochs": 6,
    "batch_size": 64,
    "watch": {"log_every": 4, "checkpoint_every": 10},
    "device": "cuda",
}


def outcome(name, device, dtype, **options):
    """Loss and gradients of one batch, on the CPU in double precision."""
    torch.manual_seed(0)
    size = {"embedding_dim": 32, "num_identities": 200, "class_sizes": class_sizes(200)}
    head = heads.create(name, **size, scale=32.0, **options)
    x, y = torch.randn(40, 32), torch.randint(200, (40,))
    if name == "elasticface":
        head.eval()  # it draws its margins, and devices draw differently
    head.to(device, dtype)
    x = x.to(device, dtype).requires_grad_()
    loss = head(x, y.to(device)).loss
    loss.backward()
    return [t.detach().double().cpu() for t in (loss, x.grad, head.centres.grad)]


@pytest.mark.parametrize(
    "options", [{}, {"backend": "blocked"}, {"backend": "blocked", "compiled": False, "block": 64}]
)
@pytest.mark.parametrize("name", margins.names())
def test_heads_agree_with_the_cpu(name, options):
    for want, got in zip(
        outcome(name, "cpu", torch.float64),
        outcome(name, "cuda", torch.float32, **options),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=2e-3, atol=2e-4 * float(want.abs().max()))


@pytest.mark.parametrize("name", ["small", "r18_lite", "r50_lite"])
def test_networks_agree_with_the_cpu(name):
    torch.manual_seed(0)
    network = backbones.create(
        name
    ).train()  # untrained, only the statistics of the batch keep it within bounds
    x = torch.randn(16, 3, network.size, network.size)
    torch.backends.cudnn.allow_tf32 = False
    want = network(x).detach()
    exact = network.cuda()(x.cuda()).detach().cpu()
    torch.backends.cudnn.allow_tf32 = True
    torch.testing.assert_close(exact, want, rtol=1e-2, atol=1e-2)
    quick = (
        network.speed_up(precision="bfloat16", channels_last=True)(x.cuda()).detach().float().cpu()
    )
    assert torch.cosine_similarity(quick, want).min() > 0.99


def test_images_of_the_gpu_agree_with_the_cpu(tmp_path, monkeypatch):
    rows = np.arange(40)
    worlds = [FaceWorld(10, 60, size=64, device=device) for device in ("cpu", "cuda")]
    cpu, gpu = (world.read(rows).astype(int) for world in worlds)
    assert np.abs(cpu - gpu).mean() < 0.1
    kept = worlds[1].cached(tmp_path / "cache")
    assert np.array_equal(kept.read(rows), gpu)
    kept.verify()
    gpu = protocols.load("cfp_fp", size=32, seed=5).read(rows).astype(int)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    protocols.forget()
    assert np.abs(gpu - protocols.load("cfp_fp", size=32, seed=5).read(rows)).mean() < 0.1


def test_augmentation_does_not_wait_for_the_device():
    images = torch.randint(256, (16, 3, 48, 48), dtype=torch.uint8)
    drawn = transforms.draw(transforms.AUGMENTATIONS["datn_page"], 16, 0)
    there = images.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        changed = transforms.apply_batch(there, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    want = transforms.apply_batch(images, drawn).to(torch.int16)
    assert (want - changed.cpu()).abs().float().mean() < 0.1


@pytest.mark.parametrize(
    "speed",
    [
        {},
        {"precision": "float16", "channels_last": True},
        {"precision": "bfloat16", "channels_last": True, "compiled": True},
    ],
)
def test_a_training_learns_in_every_mode(tmp_path, monkeypatch, speed):
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path))
    trained = train(Config.parse({**TOY, "speed": speed}), within=tmp_path / "runs")
    metrics = trained.run.metrics()
    assert metrics["loss"][-1] < 0.7 * metrics["loss"][0]
    assert metrics["peak_mib"][-1] > 1.0
    x = torch.randn(20, 3, 48, 48)
    want = evaluate.embed(trained.backbone, x)
    there = evaluate.embed(trained.backbone.cuda(), x)
    assert torch.cosine_similarity(there, want).min() > 0.99


def test_stopped_training_resumes(tmp_path, monkeypatch):
    monkeypatch.setenv("CDMLLAB_DATA", str(tmp_path))

    def stop(done, *_):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Config.parse(TOY), within=tmp_path / "runs", at_epoch=stop)
    (folder,) = (tmp_path / "runs").iterdir()
    lines = []
    trained = resume(folder, lines.append)
    assert trained.run.status == "finished"
    assert any("continuing from step 20" in line for line in lines)
