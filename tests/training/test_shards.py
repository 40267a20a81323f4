"""Stored states, and that only an expected state is read from a folder."""

import json
import os
import zlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from cdmllab.errors import CdmlLabError, DataError
from cdmllab.training import checkpoint, shards


def state(fill=None):
    """A state with every kind of value; all its numbers 0 with `fill`."""
    values = {
        "net": {
            "w": torch.arange(6.0).view(2, 3),
            "half": torch.tensor([1.5], dtype=torch.bfloat16),
        },
        "steps": torch.tensor(7),
        "random": torch.arange(5, dtype=torch.uint8),
        "channels": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "none": {},
        "plain": {"a": 3, "b": 0.1, "c": None, "d": True, "e": "text"},
    }
    if fill is not None:
        for tensor in (
            *values["net"].values(),
            values["steps"],
            values["random"],
            values["channels"],
        ):
            tensor.fill_(fill)
        values["plain"] = {"a": fill, "b": float(fill), "c": 1, "d": False, "e": ""}
    return values


def flat(value, above=""):
    if isinstance(value, dict):
        return {
            name: leaf
            for key, inner in value.items()
            for name, leaf in flat(inner, f"{above}{key}/").items()
        }
    return {above: value.tolist() if isinstance(value, torch.Tensor) else value}


@pytest.fixture
def folder(tmp_path):
    checkpoint.write(tmp_path / "kept", state())
    return tmp_path / "kept"


def resum(folder):
    """Recompute the checksums, as an attacker would to hide a change."""
    files = {
        file.name: {"bytes": file.stat().st_size, "crc32": zlib.crc32(file.read_bytes())}
        for file in folder.iterdir()
        if file.name != checkpoint.CHECKSUMS
    }
    (folder / checkpoint.CHECKSUMS).write_text(
        json.dumps({"format": checkpoint.FORMAT, "files": files})
    )


def test_state_is_read_back_in_place_with_every_type(folder):
    mine = state(fill=0)
    weight = mine["net"]["w"]
    checkpoint.read(folder, mine)
    assert flat(mine) == flat(state())
    assert mine["net"]["w"] is weight
    assert mine["channels"].is_contiguous(memory_format=torch.channels_last)
    assert type(mine["plain"]["d"]) is bool


def test_checkpoint_folder_contains_safetensors_and_json(folder):
    assert sorted(file.name for file in folder.iterdir()) == [
        "files.json",
        "rank-00000.safetensors",
        "state.json",
    ]
    kept = load_file(folder / "rank-00000.safetensors")
    assert torch.equal(kept["net/w"], state()["net"]["w"])
    assert json.loads((folder / "state.json").read_text())["plain"]["plain/b"] == 0.1


def test_rows_written_by_three_ranks_are_joined(tmp_path):
    """Written as three processes would: 5 rows split into 2, 2 and 1."""
    full = torch.arange(10.0).view(5, 2)
    for rank, rows in enumerate([full[:2], full[2:4], full[4:]]):
        save_file({"w": rows.contiguous()}, tmp_path / f"rank-{rank:05d}.safetensors")
    entry = {"dtype": "float32", "shape": [5, 2], "rows": [2, 2, 1]}
    (tmp_path / "state.json").write_text(
        json.dumps({"format": shards.FORMAT, "plain": {}, "tensors": {"w": entry}})
    )
    mine = {"w": torch.zeros(5, 2)}
    shards.read(tmp_path, mine)
    assert torch.equal(mine["w"], full)


def edit(**changes):
    def change(folder):
        index = json.loads((folder / "state.json").read_text())
        for key, value in changes.items():
            section, name = key.split("__")
            index[section][name.replace("_", "/")] = value
        (folder / "state.json").write_text(json.dumps(index))

    return change


def swap(**tensors):
    def change(folder):
        path = folder / "rank-00000.safetensors"
        kept = load_file(path) | {
            name.replace("_", "/"): tensor for name, tensor in tensors.items()
        }
        save_file({name: tensor for name, tensor in kept.items() if tensor is not None}, path)

    return change


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


OTHERS = {
    "a type": (edit(tensors__net_w={"dtype": "float64", "shape": [2, 3]}), "net/w is float64"),
    "a shape": (
        edit(tensors__net_w={"dtype": "float32", "shape": [3, 2]}),
        r"net/w is float32 \[3, 2\], expected",
    ),
    "rows": (
        edit(tensors__net_w={"dtype": "float32", "shape": [2, 3], "rows": [1, 2]}),
        "2 rows, but its parts have 3",
    ),
    "no rows": (
        edit(tensors__net_w={"dtype": "float32", "shape": [2, 3], "rows": []}),
        "2 rows, but its parts have 0",
    ),
    "another rank": (
        edit(tensors__net_w={"dtype": "float32", "shape": [2, 3], "rows": [0, 2]}),
        "rank-00001.* does not",
    ),
    "a negative": (
        edit(tensors__net_w={"dtype": "float32", "shape": [-2, 3]}),
        "greater than or equal to 0",
    ),
    "a key": (
        edit(tensors__net_w={"dtype": "float32", "shape": [2, 3], "file": "/etc/passwd"}),
        "not permitted",
    ),
    "a number": (edit(plain__plain_a="3"), "plain/a is a str, expected a int"),
    "a truth": (edit(plain__plain_d=1), "plain/d is a int, expected a bool"),
    "a huge number": (edit(plain__plain_a=10**30), "plain"),
    "nesting": (write("state.json", b'{"plain": ' + b"[" * 100_000), "readable JSON|state.json"),
    "not a number": (
        write("state.json", b'{"format": "cdmllab-state-1", "plain": {"plain/a": NaN}}'),
        "state.json",
    ),
    "no text": (write("state.json", b"\xff\xfe"), "state.json"),
    "a tensor's shape": (swap(net_w=torch.zeros(3, 3)), r"net/w has the shape \[3, 3\]"),
    "a tensor's type": (swap(net_w=torch.zeros(2, 3).int()), r"net/w is int32 \[2, 3\]"),
    "a scalar's shape": (swap(steps=torch.zeros(4).long()), r"steps is int64 \[4\]"),
    "no tensor": (swap(net_w=None), "net/w"),
    "no safetensors": (
        write("rank-00000.safetensors", b"\x80\x04" * 50),
        "is not readable safetensors",
    ),
    "a long header": (
        write("rank-00000.safetensors", b"\xff" * 8 + b"{}"),
        "is not readable safetensors",
    ),
    "an empty file": (write("rank-00000.safetensors", b""), "is not readable safetensors"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_folder_with_valid_checksums_is_refused_in_one_sentence(folder, name):
    change, sentence = OTHERS[name]
    change(folder)
    resum(folder)
    with pytest.raises(DataError, match=sentence) as caught:
        checkpoint.read(folder, state())
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_state_with_more_tensors_is_refused_with_the_missing_ones(folder):
    for extra in ({"more": torch.zeros(2)}, {"more": 3}):
        with pytest.raises(DataError, match="kept does not contain more"):
            checkpoint.read(folder, {**state(), **extra})


def link(target):
    def make(path):
        path.unlink()
        path.symlink_to(target)

    return make


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "make",
    [link("/dev/zero"), link("/etc/hostname"), pipe, directory, os.unlink],
    ids=["endless", "foreign", "pipe", "directory", "gone"],
)
@pytest.mark.parametrize("name", ["files.json", "state.json", "rank-00000.safetensors"])
def test_irregular_file_is_never_read(folder, make, name):
    make(folder / name)
    with pytest.raises(CdmlLabError, match=f"kept is damaged .*{name}"):
        checkpoint.read(folder, state())


NAMES = ["/dev/zero", "../kept/state.json", "sub/state.json", ".", "", "state.json\n", "x" * 9999]


@pytest.mark.parametrize("name", NAMES)
def test_checksums_name_files_of_the_folder_only(folder, name):
    sums = json.loads((folder / "files.json").read_text())
    sums["files"][name] = {"bytes": 1, "crc32": 0}
    (folder / "files.json").write_text(json.dumps(sums))
    with pytest.raises(
        CdmlLabError, match=r"files\.json names .*which is not a file of a checkpoint"
    ) as caught:
        checkpoint.read(folder, state())
    assert len(str(caught.value)) <= 300


def test_sizes_are_compared_before_anything_is_read(folder, monkeypatch):
    path = folder / "rank-00000.safetensors"
    with path.open("ab") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    monkeypatch.setattr(zlib, "crc32", lambda *_: pytest.fail("was read"))
    with pytest.raises(CdmlLabError, match=r"rank-00000\.safetensors is not a regular file of"):
        checkpoint.read(folder, state())


def test_files_far_larger_than_the_state_are_not_read(folder):
    sums = json.loads((folder / "files.json").read_text())
    with (folder / "rank-00000.safetensors").open("ab") as file:
        file.truncate(1 << 40)
    sums["files"]["rank-00000.safetensors"]["bytes"] = 1 << 40
    (folder / "files.json").write_text(json.dumps(sums))
    with pytest.raises(CdmlLabError, match="far larger than expected"):
        checkpoint.read(folder, state())


def test_unlisted_file_counts_as_damage(folder):
    save_file({"w": torch.zeros(1)}, folder / "rank-00001.safetensors")
    assert checkpoint.damage(folder) == "files.json does not name rank-00001.safetensors"


def test_failed_write_keeps_the_previous_checkpoint(folder, monkeypatch):
    monkeypatch.setattr(
        shards,
        "save_file",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(folder, state(fill=0))
    mine = state(fill=0)
    checkpoint.read(folder, mine)
    assert flat(mine) == flat(state())


def test_unsupported_value_is_refused(tmp_path):
    with pytest.raises(ValueError, match="plain"):
        checkpoint.write(tmp_path / "x", {"a": [1, 2]})
    assert not (tmp_path / "x").exists()


def test_files_too_small_for_a_state_are_refused_before_memory_is_taken(folder):
    """A record may claim any number of identities."""
    size = sum(path.stat().st_size for path in folder.glob("rank-*"))
    checkpoint.require_bytes(folder, size)
    with pytest.raises(DataError, match=f"tensors of {size:,} bytes; at least {10**15:,} are"):
        checkpoint.require_bytes(folder, 10**15)
    (folder / ".metadata").touch()
    with pytest.raises(DataError, match="can run code when it is read"):
        checkpoint.require_bytes(folder, 1)
