"""Files that claim more data than they contain are rejected before memory is allocated."""

import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cdmllab import backbones
from cdmllab.backbones import checkpoints, weights
from cdmllab.errors import CdmlLabError, DataError

LITTLE = {"embedding_dim": 8, "size": 8, "channels": 1, "width": 4}
INPUT = {"channels": "grey", "mean": [0.5], "std": [0.5], "size": 8}


def release(path, tensors=None, **changes):
    """A release with changed metadata."""
    metadata = {"name": "small", "options": LITTLE, "preprocessing": INPUT, "config": {}} | changes
    net = backbones.create("small", **LITTLE)
    plain = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    save_file(
        tensors or net.state_dict(),
        path,
        metadata={"format": weights.FORMAT, "git_commit": "", **plain},
    )
    return path


def test_release_of_these_tests_is_valid(tmp_path):
    assert weights.load_release(release(tmp_path / "a.safetensors"))[0].embedding_dim == 8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"options": LITTLE | {"width": 20_000}}, "wrong shape"),
        (
            {"options": LITTLE | {"embedding_dim": 2_000_000_000}},
            "'embedding_dim' is 2000000000; at most",
        ),
        (
            {"options": LITTLE | {"width": [8]}},
            r"'width': Input should be a valid integer, got \[8\]",
        ),
        ({"options": LITTLE | {"width": -8}}, "negative dimension"),
        ({"options": [1]}, "readable release|another version"),
        ({"options": "[" * 100_000}, "nested too deeply"),
        ({"options": '{"width": ' + "9" * 5000 + "}"}, "a.safetensors"),
        ({"name": "../../x" * 5000}, "unknown backbone"),
        (
            {"preprocessing": INPUT | {"size": 1_000_000_000}},
            "gives 1 x 1000000000 pixels, but the network takes 1 x 8",
        ),
        ({"preprocessing": INPUT | {"mean": [float("nan")]}}, "not finite"),
        ({"preprocessing": 3}, "a.safetensors"),
        ({"preprocessing": INPUT | {"std": "ab"}}, "a.safetensors"),
        (
            {"tensors": {"net": torch.zeros(1)}},
            "an unknown layout: its first keys are net",
        ),
    ],
)
def test_releases_that_promise_too_much_are_refused_in_one_sentence(tmp_path, change, sentence):
    path = release(tmp_path / "a.safetensors", **change)
    tracemalloc.start()
    with pytest.raises(CdmlLabError, match=sentence) as caught:
        weights.load_release(path)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({1: torch.zeros(2)}, "names of tensors must be text|not contain a state dict"),
        (
            {"a": torch.zeros(1, dtype=torch.float16).expand(10**12)},
            "claims 1,000,000,000,000 values",
        ),
        ({"a": torch.zeros(2, 2).to_sparse()}, "not a plain tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "has the type complex64"),
        ({"a": torch.zeros(2, device="meta")}, "a.pth"),
        ({"a" * 100_000: torch.zeros(1).expand(10**9)}, "claims"),
    ],
)
def test_tensors_unlike_their_data_are_rejected(tmp_path, state, sentence):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CdmlLabError, match=sentence) as caught:
        checkpoints.read(tmp_path / "a.pth")
    assert len(str(caught.value)) <= 400


def test_views_of_a_larger_tensor_are_read_as_they_are(tmp_path):
    """Transposed and narrowed tensors have other strides, but fit into their storage."""
    state = backbones.create("small", **LITTLE).state_dict()
    expected = {name: tensor.clone() for name, tensor in state.items()}
    for name, tensor in state.items():
        if tensor.ndim == 4:
            state[name] = tensor.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        elif tensor.ndim == 1:
            state[name] = torch.cat([tensor, tensor])[: len(tensor)]
    torch.save(state, tmp_path / "a.pth")
    result = checkpoints.read(tmp_path / "a.pth")
    assert result.keys() == expected.keys()
    for name, tensor in result.items():
        assert torch.equal(tensor, expected[name])


def test_compressed_archive_is_rejected(tmp_path):
    torch.save({"a": torch.zeros(10_000_000)}, tmp_path / "plain.pth")
    path = tmp_path / "a.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="is compressed, which files written by torch never are"):
        checkpoints.read(path)


def test_pickle_that_requests_memory_is_rejected(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.PROTO + b"\x02" + b"]" + b"r\xff\xff\xff\x7f" + b"0" * 3 + b".")
    with pytest.raises(CdmlLabError, match=r"a\.pth is refused, and nothing of it"):
        checkpoints.read(path)


def test_text_of_claimed_gigabytes_in_an_old_checkpoint_allocates_nothing(tmp_path):
    path = tmp_path / "a.pth"
    state = backbones.create("small", **LITTLE).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    text = b"X" + len("protocol_version").to_bytes(4, "little") + b"protocol_version"
    assert old.count(text) == 1
    path.write_bytes(old.replace(text, b"X" + (3 << 30).to_bytes(4, "little") + text[5:]))
    tracemalloc.start()
    try:
        with pytest.raises(CdmlLabError, match=r"a\.pth is not a checkpoint"):
            checkpoints.read(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_other_formats_stay_readable(tmp_path):
    state = backbones.create("small", **LITTLE).state_dict()
    for kind in (True, False):
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=kind)
        assert checkpoints.read(tmp_path / "a.pth").keys() == state.keys()
    released = Path(__file__).parents[2] / "results/models/lab_small.safetensors"
    assert weights.load_release(released)[0].embedding_dim > 0
