import io
import pickle

import pytest
import torch
from tests.backbones import layout

from cdmllab import backbones, preprocessing
from cdmllab.backbones import checkpoints, weights
from cdmllab.errors import CdmlLabError

LITTLE = {"width": 4, "embedding_dim": 8, "size": 32}


@pytest.fixture(scope="module")
def public():
    return layout.checkpoint(width=4, dim=8, side=2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return backbones.create("r18_lite", **LITTLE).eval()


@pytest.mark.parametrize(("name", "width"), [("r18", 64), ("r18_lite", 32)])
def test_names_and_shapes_are_arcface_torchs(name, width):
    own = {key: tuple(value.shape) for key, value in backbones.create(name).state_dict().items()}
    assert own == layout.shapes(width=width)


@pytest.mark.parametrize("inside", [None, "state_dict_backbone", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_public_checkpoint_reproduces_its_embeddings(tmp_path, public, prefix, inside):
    state = {f"{prefix}{key}": value for key, value in public.items()}
    torch.save({inside: state, "epoch": 3} if inside else state, tmp_path / "public.pth")
    net = weights.load("r18", tmp_path / "public.pth", **LITTLE)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert not net.training
    with torch.no_grad():
        torch.testing.assert_close(net(x), layout.forward(public, x), rtol=1e-4, atol=1e-5)


def test_half_precision_checkpoint_is_read_in_float32(tmp_path, public):
    half = {
        key: value.half() if value.is_floating_point() else value for key, value in public.items()
    }
    torch.save(half, tmp_path / "half.pth")
    net = weights.load("r18", tmp_path / "half.pth", **LITTLE)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    torch.testing.assert_close(net.conv1.weight, public["conv1.weight"], rtol=1e-3, atol=1e-6)


def test_checkpoint_without_batch_counts_is_accepted(tmp_path, public):
    torch.save({k: v for k, v in public.items() if "num_batches" not in k}, tmp_path / "old.pth")
    state = weights.load("r18", tmp_path / "old.pth", **LITTLE).state_dict()
    assert state["bn1.num_batches_tracked"] == 0
    assert all(
        torch.equal(state[key], value) for key, value in public.items() if "num_batches" not in key
    )


def test_checkpoint_is_read_back_bit_for_bit(tmp_path, net):
    checkpoints.save(net, tmp_path / "own.pth")
    plain = torch.load(tmp_path / "own.pth", weights_only=True)
    assert list(plain) == list(net.state_dict())
    again = weights.load("r18_lite", tmp_path / "own.pth", **LITTLE)
    assert all(
        torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items()
    )


def test_release_describes_and_rebuilds_itself(tmp_path, net):
    path = tmp_path / "net.safetensors"
    used = preprocessing.INSIGHTFACE | {"channels": "BGR", "size": 32}
    weights.save_release(
        net,
        path,
        name="r18_lite",
        options=LITTLE,
        preprocessing=used,
        config={"lr": 0.1},
        git_commit="ab",
    )
    again, metadata = weights.load_release(path)
    assert metadata == weights.Release("r18_lite", LITTLE, used, {"lr": 0.1}, "ab")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(net(x), again(x))
    assert torch.equal(weights.load("r18_lite", path, **LITTLE)(x), net(x))
    assert path.stat().st_mode & 0o444 == 0o444


def test_half_release_is_half_the_size_and_nearly_the_same(tmp_path, net):
    for half in (False, True):
        weights.save_release(
            net, tmp_path / f"{half}.safetensors", name="r18_lite", options=LITTLE, half=half
        )
    sizes = [(tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True)]
    numbers = sum(value.numel() for value in net.state_dict().values())
    assert abs(sizes[0] - sizes[1] - 2 * numbers) < 0.02 * sizes[0]
    again, _ = weights.load_release(tmp_path / "True.safetensors")
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.cosine_similarity(net(x), again(x)).min() > 0.9999


def test_half_release_rejects_overflow(tmp_path, net):
    with torch.no_grad():
        net.bn2.running_var.fill_(1e5)
    with pytest.raises(ValueError, match=r"bn2\.running_var has values too large for float16"):
        weights.save_release(
            net, tmp_path / "a.safetensors", name="r18_lite", options=LITTLE, half=True
        )
    assert list(tmp_path.iterdir()) == []


def test_another_architecture_is_reported_with_the_one_that_fits(tmp_path):
    checkpoints.save(backbones.create("r34_lite"), tmp_path / "a.pth")
    with pytest.raises(CdmlLabError) as caught:
        weights.load("r18_lite", tmp_path / "a.pth")
    message = str(caught.value)
    assert (
        "a.pth does not contain the weights of r18_lite (it fits r34_lite): unexpected "
        "layer1.2.bn1." in message
    )
    assert "and " in message


def test_missing_and_misshapen_keys_are_named(tmp_path, public):
    broken = {key: value for key, value in public.items() if key != "layer2.0.prelu.weight"}
    broken["fc.weight"] = torch.zeros(8, 16)
    torch.save(broken, tmp_path / "a.pth")
    with pytest.raises(CdmlLabError) as caught:
        weights.load("r18", tmp_path / "a.pth", **LITTLE)
    assert "missing layer2.0.prelu.weight; wrong shape: fc.weight is 8x16 instead of 8x128" in str(
        caught.value
    )


class _Evil:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickle.dumps({"w": _Evil()}),
            "is refused, and nothing of it was run: it calls builtins.print, which could run code",
        ),
        (b"nothing", "is not a checkpoint, or contains objects other than tensors"),
        ({"weight": 3}, "does not contain a state dict"),
        ({}, "does not contain a state dict"),
        ([torch.zeros(2)], "does not contain a state dict"),
    ],
)
def test_file_with_other_objects_than_tensors_is_rejected(tmp_path, capsys, content, message):
    path = tmp_path / "bad.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CdmlLabError, match=rf"bad\.pth {message}"):
        checkpoints.read(path)
    assert "ran" not in capsys.readouterr().out


def test_torch_archive_that_runs_code_is_rejected(tmp_path, capsys):
    buffer = io.BytesIO()
    torch.save({"w": _Evil()}, buffer)
    (tmp_path / "bad.pth").write_bytes(buffer.getvalue())
    with pytest.raises(CdmlLabError, match=r"it calls __builtin__\.print, which could run code"):
        checkpoints.read(tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""


def test_each_invalid_release_has_its_own_message(tmp_path, net):
    from safetensors.torch import save_file

    with pytest.raises(CdmlLabError, match=r"there is no file .*none\.pth"):
        checkpoints.read(tmp_path / "none.pth")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(CdmlLabError, match=r"a\.safetensors is not readable as safetensors"):
        weights.load_release(tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CdmlLabError, match="not a release of cdmllab"):
        weights.load_release(tmp_path / "b.safetensors")
    save_file(
        {"a": torch.zeros(1)},
        tmp_path / "c.safetensors",
        metadata={"format": weights.FORMAT, "name": "r18"},
    )
    with pytest.raises(CdmlLabError, match="metadata is incomplete or invalid: 'options'"):
        weights.load_release(tmp_path / "c.safetensors")
    with pytest.raises(CdmlLabError, match=r"which is a \.safetensors"):
        weights.load_release(tmp_path / "d.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": {}}, "r18_lite with options {} does not build this network: wrong shape"),
        ({"name": "r34_lite"}, "does not build this network: missing layer1.2.bn1.weight"),
        (
            {"options": LITTLE | {"norm_eps": 2e-5}},
            r"does not build this network: bn1 is .*eps=1e-05.* instead of .*eps=2e-05",
        ),
        (
            {"options": LITTLE | {"downsample": "early"}},
            r"does not build this network: layer1\.0\.conv1 is .*stride=\(1, 1\).* "
            r"instead of .*stride=\(2, 2\)",
        ),
        (
            {"preprocessing": {"channels": "RGB"}},
            "needs the keys channels, mean, std, size and may have crop, got channels",
        ),
        (
            {"preprocessing": preprocessing.INSIGHTFACE},
            "takes 3 x 32 x 32, but its preprocessing gives",
        ),
    ],
)
def test_release_that_would_not_load_is_not_written(tmp_path, net, change, message):
    with pytest.raises(ValueError, match=message):
        weights.save_release(
            net, tmp_path / "a.safetensors", **{"name": "r18_lite", "options": LITTLE} | change
        )
    assert list(tmp_path.iterdir()) == []


def test_guess_finds_each_backbone():
    with torch.device("meta"):
        for name in backbones.names():
            assert checkpoints.guess(backbones.create(name).state_dict()) == name
        assert checkpoints.guess(backbones.create("r18_lite", embedding_dim=7).state_dict()) is None


def test_release_has_the_same_bytes_each_time(tmp_path):
    """safetensors itself writes metadata in the order of a hash table, which is another one for
    each file.
    """
    net = backbones.create("r18_lite", **LITTLE)
    files = [tmp_path / f"{k}.safetensors" for k in range(8)]
    for file in files:
        weights.save_release(
            net, file, name="r18_lite", options=LITTLE, config={"lr": 0.1}, git_commit="ä"
        )
    assert len({file.read_bytes() for file in files}) == 1
    read, metadata = weights.load_release(files[0])
    assert metadata.git_commit == "ä"
    assert torch.equal(read.state_dict()["conv1.weight"], net.state_dict()["conv1.weight"])
