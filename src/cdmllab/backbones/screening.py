"""Go through the pickle of a ``.pth`` file before torch does, and refuse what would hang it.

torch's ``weights_only`` runs no code of a file, but trusts what a pickle describes: a few hundred
bytes make a key that takes a year to hash, or an array of a terabyte, and a storage may claim more
values than its record has, which are then read from elsewhere in the memory. Here the instructions
are interpreted without hashing, printing or allocating anything.

Source: PyTorch, ``torch/serialization.py`` and ``torch/_weights_only_unpickler.py``.
"""

import mmap
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cdmllab._util.files import opened
from cdmllab._util.picklemachine import Machine, Refused
from cdmllab.errors import plain

_LARGEST = 1 << 40  # bytes of a file
_MOST = 4_000_000  # instructions; a network and its optimiser have a hundred thousand
_PLAIN = (str, bytes, int, float, bool, type(None))
# Calls with plain values; the layout is that of a sparse tensor, which is refused afterwards.
_HARMLESS = ("torch.device", "torch.serialization._get_layout", "builtins.set", "__builtin__.set")
_AXES, _LONGEST = 16, 100  # of a tensor; characters of a device's name
_BYTES = {  # of a value, by the name of its storage's type
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Byte", "Char", "Bool", "Untyped"), 1),
    "ComplexDouble": 16,
}


class _Name(NamedTuple):
    """A class or function of which the pickle knows the name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Storage(NamedTuple):
    """The values of tensors; stored once, used by any number of them."""

    key: str
    values: int
    size: int  # bytes


class _Dict:
    """A dictionary, whose keys have been checked."""


class _Made:
    """A tensor or a setting, made by a call."""


class Screen(Machine):
    """A pickle of torch being gone through.

    Parameters
    ----------
    data, at : the pickle and where it begins
    ignored : prefixes of classes that are replaced by objects that do nothing
    """

    most = _MOST

    def __init__(self, data: bytes | mmap.mmap, ignored: Sequence[str], at: int = 0) -> None:
        super().__init__(data, {}, at)
        self._ignored = tuple(ignored)
        self._left = len(data)  # characters that may be encoded
        self.storages: dict[str, _Storage] = {}

    def _named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name must be text")
        self._push(_Name(module, name))

    def _text_or_number(self) -> None:
        # Numbers of any length: files of old versions begin with one of ten bytes.
        self._push(int.from_bytes(self._take(self._read("<B")), "little", signed=True))

    def _fraction(self) -> None:
        self._push(struct.unpack(">d", self._take(8))[0])

    def _set_items(self, items: Sequence[Any]) -> None:
        if type(self._stack[-1]) is not _Dict or len(items) % 2:
            raise Refused("it sets an item of what is no dictionary")
        for key in items[::2]:
            _refuse_key(key)

    def _call(self, given: Any, function: Any) -> None:
        if type(function) is not _Name or type(given) is not tuple:
            raise Refused("it calls what is no function")
        self._push(self._called(function, given))

    def _called(self, function: _Name, given: tuple[Any, ...]) -> object:
        known = str(function)
        if known.startswith(self._ignored):
            return _Made()
        if known in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
            _check_tensor(given)
        elif known.startswith("torch._utils._rebuild_parameter"):
            if not given or type(given[0]) is not _Made:
                raise Refused("it has a parameter without a tensor")
        elif known.startswith("torch._utils._rebuild_"):
            raise Refused("it has a tensor that is not a plain tensor")
        elif known == "collections.OrderedDict":
            _check_pairs(given)
            return _Dict()
        elif known == "torch.Size":
            _whole(given[0] if len(given) == 1 else None)
        elif known == "_codecs.encode":
            self._left -= len(given[0]) if given and type(given[0]) is str else 0
            if self._left < 0:
                raise Refused("it encodes more text than the file has")
        elif known in _HARMLESS:
            for value in given[0] if given and type(given[0]) is list else given:
                _refuse_key(value)
                if type(value) is str and len(value) > _LONGEST:
                    raise Refused("it has a setting that is too long")
        else:
            raise Refused(f"it calls {plain(known, 100)}, which could run code")
        return _Made()

    def _new(self, given: Any, kind: Any) -> None:
        if type(kind) is not _Name or not str(kind).startswith(self._ignored):
            raise Refused("it creates objects other than tensors, which could run code")
        self._push(_Made())

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if type(target) is not _Made and not (type(target) is type(state) is _Dict):
            raise Refused("it changes what is no object")

    def _persistent(self, given: Any) -> None:
        if type(given) is not tuple or len(given) not in (5, 6) or _text(given[0]) != "storage":
            raise Refused("it refers to what is no storage")
        kind, key, device, values = given[1:5]
        name = kind.name.removesuffix("Storage") if type(kind) is _Name else ""
        if name not in _BYTES or type(values) is not int or values < 0 or _text(device) is None:
            raise Refused("it has a storage of another form")
        if len(given) == 6 and given[5] is not None:
            raise Refused("it has a view of a storage, as only the oldest versions of torch write")
        label = _text(key) if type(key) is not int else str(key)
        if label is None:
            raise Refused("it has a storage without a name")
        storage = _Storage(label, values, values * _BYTES[name])
        known = self.storages.setdefault(label, storage)
        if known.size != storage.size:
            raise Refused(f"its storage {plain(label, 40)} has two sizes")
        self._push(storage)


def _steps() -> dict[int, Callable[[Any], object]]:
    own: dict[bytes, Callable[[Screen], object]] = {
        b"\x8a": Screen._text_or_number,
        b"G": Screen._fraction,
        b"}": lambda it: it._push(_Dict()),
        b"\x8f": lambda it: it._push(_Made()),
        b"s": lambda it: it._set_items([it._stack.pop(), it._stack.pop()][::-1]),
        b"u": lambda it: it._set_items(it._marked()),
        b"\x81": lambda it: it._new(given=it._stack.pop(), kind=it._stack.pop()),
        b"Q": lambda it: it._persistent(it._stack.pop()),
    }
    return Machine.steps | {code[0]: step for code, step in own.items()}


Screen.steps = _steps()


def screen(path: Path | str, ignored: Sequence[str]) -> None:
    """Go through the pickles of a checkpoint.

    Raises
    ------
    Refused : it asks for something that no checkpoint needs, or its storages do not fit the file
    Exception : of any other kind where it is damaged
    """
    with opened(path, at_most=_LARGEST) as file:
        zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _screen_old(data, ignored)
            return
    # torch's own reader of the archive, so that both see the same records.
    archive = torch._C.PyTorchFileReader(str(path))
    found = Screen(archive.get_record("data.pkl"), ignored)
    found.run()
    for storage in found.storages.values():
        if len(archive.get_record(f"data/{storage.key}")) != storage.size:
            raise Refused(_unlike(storage))


def _screen_old(data: mmap.mmap, ignored: Sequence[str]) -> None:
    """The format from before version 1.6: five pickles, and the values of each storage."""
    at = 0
    for _ in range(3):  # a magic number, a version, and the sizes of types
        head = Screen(data, ignored, at)
        if type(head.run()) not in (int, _Dict):
            raise Refused("it does not begin as a checkpoint")
        at = head.at
    found = Screen(data, ignored, at)
    found.run()
    keys = Screen(data, ignored, found.at)
    listed = keys.run()
    if type(listed) is not list or {type(key) for key in listed} - {str, bytes, int}:
        raise Refused("its list of storages has another form")
    names = {str(key) if type(key) is int else _text(key) for key in listed}
    if names != found.storages.keys() or len(names) != len(listed):
        raise Refused("its list of storages does not name each once")
    # Each is stored with its length, in eight bytes.
    room = len(data) - keys.at
    for storage in found.storages.values():
        room -= storage.size + 8
        if room < 0:
            raise Refused(_unlike(storage))


def _unlike(storage: _Storage) -> str:
    return (
        f"its storage {plain(storage.key, 40)} claims {storage.values:,} values, which the file "
        f"does not have"
    )


def _text(value: Any) -> str | None:
    """A short text, which is bytes in files of Python 2; else None."""
    if type(value) is bytes and len(value) <= _LONGEST:
        return value.decode("latin1")
    return value if type(value) is str and len(value) <= _LONGEST else None


def _refuse_key(key: Any) -> None:
    """Refuse keys that take long to hash: only plain values, and tuples of them."""
    for part in key if type(key) is tuple else (key,):
        if type(part) not in (*_PLAIN, _Made, _Name):
            raise Refused("it has a key that is no text or number")


def _whole(values: Any) -> Sequence[int]:
    if (
        type(values) not in (tuple, list)
        or len(values) > _AXES
        or not all(type(value) is int and value >= 0 for value in values)
    ):
        raise Refused(f"the shape of a tensor is at most {_AXES} whole numbers")
    whole: Sequence[int] = values
    return whole


def _check_tensor(given: tuple[Any, ...]) -> None:
    """Refuse tensors that reach beyond their storage."""
    if len(given) < 4 or type(given[0]) is not _Storage or type(given[1]) is not int:
        raise Refused("it has a tensor without a storage")
    storage, offset, shape, strides = given[0], given[1], _whole(given[2]), _whole(given[3])
    if offset < 0 or len(shape) != len(strides):
        raise Refused("it has a tensor whose shape and strides do not fit")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.values:
        raise Refused(
            f"it has a tensor that claims the value {last:,} of a storage of {storage.values:,}"
        )


def _check_pairs(given: tuple[Any, ...]) -> None:
    """Refuse all arguments of an OrderedDict but Python 2's, a list of keys with their values."""
    for pair in given[0] if len(given) == 1 and type(given[0]) is list else given:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise Refused("it has a dictionary of another form")
        _refuse_key(pair[0])
