import pytest
import torch

from cdmllab import backbones, faces, heads, preprocessing
from cdmllab.backbones import weights

OPTIONS = {"embedding_dim": 32, "width": 16}


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A small net, trained for seconds on 96 face-lab people, as a released file."""
    people, each, steps = 96, 10, 240
    labels, index = torch.arange(people).repeat_interleave(each), torch.arange(each).repeat(people)
    used = preprocessing.standard(3, 32)
    x = preprocessing.apply(faces.render(labels + 5_000, index=index, size=32, strength=0.65), used)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fast = backbones.fast_precision(torch.device("cpu"))
        net = backbones.create("small", **OPTIONS).speed_up(precision=fast, channels_last=True)
        head = heads.create(
            "cosface", embedding_dim=32, num_identities=people, scale=16.0, margin_cos=0.1
        )
        optimiser = torch.optim.SGD(
            [*net.parameters(), *head.parameters()], lr=0.1, momentum=0.9, weight_decay=5e-4
        )
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
            rows = torch.randint(len(labels), (64,))
            optimiser.zero_grad()
            head(net(x[rows]), labels[rows]).loss.backward()
            optimiser.step()
    net.speed_up()
    path = tmp_path_factory.mktemp("release") / "small.safetensors"
    weights.save_release(
        net.eval(), path, name="small", options=OPTIONS, preprocessing=used, git_commit="0123abc"
    )
    return path
