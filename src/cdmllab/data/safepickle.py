"""Unpickle arrays and nothing else.

A pickle is a program; loading one runs it. Here it may name the six functions that a pickled numpy array needs,
and gets stand-ins of ours for them: what is read is lists, tuples, numbers, bytes and arrays. Anything else is
refused when it is named, before anything of it runs. Python's own implementation of the machine is used, whose
memo is a dictionary: the C one can be made to allocate without limit.
"""

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab.data import sniff
from cdmllab.errors import DataError

_LARGEST_BYTES = 2**31  # of one array


class Refused(pickle.UnpicklingError):
    """A pickle names something that is not on the list."""


class _Dtype:
    """Stand-in for numpy.dtype: numbers and booleans only."""

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(text, str) or np.dtype(text).kind not in "biuf":
            raise Refused(f"an array of {text!r} is refused: only numbers and booleans are read")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise Refused(f"the byte order {order!r} does not exist")
        self.dtype = np.dtype(order + self.dtype.str[1:])


class _Array:
    """Stand-in for an array being built; `value` is the array once its state has come."""

    value: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        size = dtype.dtype.itemsize
        for length in shape:
            size *= int(length)
        if not isinstance(data, bytes) or size != len(data) or size > _LARGEST_BYTES:
            raise Refused(f"an array of shape {shape} does not have {len(data):,} bytes")
        self.value = np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order="F" if fortran else "C")


class _NdarrayType:
    """Stand-in for the class numpy.ndarray, which a pickle hands to `_reconstruct`."""


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    if not isinstance(data, bytes) or len(data) != dtype.dtype.itemsize:
        raise Refused("a number has the wrong number of bytes")
    return np.frombuffer(data, dtype=dtype.dtype)[0].item()


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    name = encoding.decode("ascii") if isinstance(encoding, bytes) else encoding
    if name not in ("latin1", "latin-1") or not isinstance(text, str):
        raise Refused(f"the encoding {name!r} is refused: Python writes bytes as latin1")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _NdarrayType,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


class _Machine(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What a pickle names, if it is on the list."""
        if (module, name) not in _ALLOWED:
            raise Refused(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def loads(data: bytes, where: str) -> Any:
    """What a pickle holds: lists, tuples, numbers, text, bytes and arrays (as `numpy.ndarray`).

    Pickles of Python 2 and 3 are read; text of Python 2 becomes bytes.

    Raises
    ------
    DataError : it asks for anything else, or is damaged
    """
    try:
        loaded = _Machine(io.BytesIO(data), encoding="bytes").load()
    except Refused as error:
        raise DataError(f"{where} is refused, and nothing of it was run: {error}") from error
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(MemoryError, OverflowError, NotImplementedError, AssertionError, RecursionError, struct.error),
    ) as error:
        raise DataError(f"{where} is no readable pickle{sniff.hint(data) or f' ({_reason(error)})'}") from error
    return loaded


def _reason(error: BaseException) -> str:
    """Why the machine stopped; it looks an instruction up by its byte, so an unknown one is a bare `KeyError: 60`."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], int):
        return f"the byte 0x{error.args[0]:02x} is no instruction of a pickle"
    return f"{type(error).__name__}: {error}"


def array(value: Any) -> Any:
    """The array behind a stand-in; other values as they are."""
    return getattr(value, "value", None) if isinstance(value, _Array) else value
