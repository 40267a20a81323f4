"""Checkpoints of a few hundred bytes that would hang, crash or fill torch's own reader."""

import io
import pickle
import struct
import zipfile

import pytest
import torch

from cdmllab import backbones
from cdmllab.backbones import checkpoints
from cdmllab.errors import CdmlLabError, DataError

LITTLE = {"embedding_dim": 8, "size": 8, "channels": 1, "width": 4}
MAGIC = 0x1950A86A20F9469CFC6C


def text(content: str) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def number(n: int) -> bytes:
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


def storage(values: int, kind: bytes = b"Float", key: str = "0") -> bytes:
    named = b"ctorch\n" + kind + b"Storage\n"
    return b"(" + text("storage") + named + text(key) + text("cpu") + number(values) + b"tQ"


def tensor(stored: bytes, offset: int = 0, shape: tuple = (4,), strides: tuple = (1,)) -> bytes:
    sides = (b"(" + b"".join(map(number, sides)) + b"t" for sides in (shape, strides))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + stored
        + number(offset)
        + b"".join(sides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def named(value: bytes) -> bytes:
    return b"}" + text("a") + value + b"s"


def archive(instructions: bytes, record: bytes = bytes(16)) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02" + instructions + b".")
        file.writestr("a/version", "3\n")
        file.writestr("a/data/0", record)
    return stream.getvalue()


# 2^60 values, which take as long to hash or to print.
TREE = b"Nq\x00" + b"".join(b"h" + bytes([k]) + b"\x86q" + bytes([k + 1]) for k in range(60))
LISTS = b"]" + TREE + b"a"
DEEP = b"N" + b"\x85" * 200_000
REFUSED = {
    "tuples as a key": (b"}" + TREE + b"Ns", "a key that is no text or number"),
    "deep tuples as a key": (b"}" + DEEP + b"Ns", "a key that is no text or number"),
    "a key of lists": (b"}" + LISTS + b"Ns", "a key that is no text or number"),
    "a set": (b"cbuiltins\nset\n" + LISTS + b"\x85R", "a key that is no text or number"),
    "a counter": (b"ccollections\nCounter\n" + LISTS + b"\x85R", "it calls collections.Counter"),
    "pairs": (b"ccollections\nOrderedDict\n](" + TREE + b"N\x86e\x85R", "no text or number"),
    "a shape": (b"ctorch\nSize\n" + LISTS + b"\x85R", "at most 16 whole numbers"),
    "a called list": (LISTS + b")R", "it calls what is no function"),
    "a created list": (LISTS + b")\x81", "it creates objects other than tensors"),
    "a storage of lists": (b"(" + LISTS + b"NNNNtQ", "what is no storage"),
    "an array of a terabyte": (
        b"cbuiltins\nbytearray\n" + number(10**12) + b"\x85R",
        "it calls builtins.bytearray",
    ),
    "a state of pairs": (
        b"ccollections\nOrderedDict\n)R](" + TREE + b"N\x86eb",
        "it changes what is no object",
    ),
    "a program": (
        b"cos\nsystem\n" + text("true") + b"\x85R",
        "it calls os.system, which could run code",
    ),
    "a text encoded often": (
        b"(c_codecs\nencode\nq\x00("
        + text("a" * 10_000)
        + text("latin1")
        + b"tq\x01R"
        + b"h\x00h\x01R" * 50_000
        + b"t",
        "it encodes more text than the file has",
    ),
    "a storage beyond its record": (named(tensor(storage(10**8))), "claims 100,000,000 values"),
    "a storage of 10^12": (named(tensor(storage(10**12))), "claims 1,000,000,000,000 values"),
    "a storage below zero": (named(tensor(storage(-1))), "a storage of another form"),
    "two sizes": (b"(" + storage(4) + storage(8) + b"t", "has two sizes"),
    "an offset beyond": (named(tensor(storage(4), offset=4)), "claims the value 7 of a storage"),
    "an offset below zero": (named(tensor(storage(4), offset=-8)), "strides do not fit"),
    "a stride below zero": (named(tensor(storage(4), strides=(-9,))), "at most 16 whole numbers"),
    "forty axes": (
        named(tensor(storage(4), shape=(1,) * 40, strides=(1,) * 40)),
        "at most 16 whole numbers",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_pickle_that_would_hang_or_crash_torch_is_refused(tmp_path, kind):
    instructions, sentence = REFUSED[kind]
    (tmp_path / "a.pth").write_bytes(archive(instructions))
    with pytest.raises(DataError, match=sentence) as caught:
        checkpoints.read(tmp_path / "a.pth")
    assert len(str(caught.value)) < 400


OLD = [pickle.dumps(MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
STORED = storage(4)[:-2] + b"NtQ"
OLD_REFUSED = {
    "tuples as a key": (b"}" + TREE + b"Ns", [], "a key that is no text or number"),
    "more than the file has": (named(tensor(storage(1 << 30))), ["0"], "claims 1,073,741,824"),
    "values that are not stored": (named(tensor(STORED)), [], "does not name each once"),
    "a storage named twice": (named(tensor(STORED)), ["0", "0"], "does not name each once"),
    "names of lists": (b"}", [[]], "list of storages has another form"),
}


@pytest.mark.parametrize("kind", OLD_REFUSED)
def test_old_format_is_gone_through_as_well(tmp_path, kind):
    instructions, keys, sentence = OLD_REFUSED[kind]
    parts = [*OLD, b"\x80\x02" + instructions + b".", pickle.dumps(keys, 2), bytes(24)]
    (tmp_path / "a.pth").write_bytes(b"".join(parts))
    with pytest.raises(DataError, match=sentence):
        checkpoints.read(tmp_path / "a.pth")


def test_many_names_of_one_tensor_are_refused_before_they_are_converted(tmp_path):
    half = torch.zeros(1 << 20, dtype=torch.float16)
    torch.save({f"a{k}": half for k in range(1000)}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="share their values too often"):
        checkpoints.read(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_with_everything_that_trainers_store_is_read(tmp_path, zipped):
    net = backbones.create("small", **LITTLE)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = {
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameter": torch.nn.Parameter(torch.zeros(2)),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "bytes": b"abc",
        "epoch": 3,
        "rate": 0.1,
        "seen": {1, 2},
        ("a", 1): None,
    }
    torch.save(kept, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert checkpoints.read(tmp_path / "a.pth").keys() == net.state_dict().keys()


def test_nothing_but_a_checkpoint_is_one(tmp_path):
    for content in (b"", b"hello", b"PK\x03\x04", b"\x80\x02N."):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(CdmlLabError, match=r"a\.pth is "):
            checkpoints.read(tmp_path / "a.pth")
