"""Unpickle plain values and arrays, and nothing else.

A pickle is a program, and loading it runs it. Here an interpreter of our own runs it, in which the
functions that a pickled numpy array needs are replaced by stand-ins. The result can have lists,
tuples, integers, text, bytes and arrays. Anything else is refused before any of it runs.

Source: NumPy, ``array_reduce`` in ``methods.c`` and ``_frombuffer`` in ``numeric.py``.
"""

import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.picklemachine import Machine, NotBuilt, Refused
from cdmllab.data import sniff
from cdmllab.errors import DataError, cause, plain

_DEEPEST = 3  # lists and tuples inside each other; a bin has two
_DIMENSIONS = 8
# Bool, int, unsigned int, float; sizes in bytes.
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_ORDER = re.compile(r"[<>=|]")
_LATIN1 = re.compile(r"latin-?1")


class _Dtype:
    """Stand-in for numpy.dtype: numbers and booleans only."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(
            _one_of(_DTYPE, code, "it has an array that is not of numbers or booleans, but of")
        )

    def build(self, state: Any) -> None:
        """Take the byte order."""
        if type(state) is not tuple or len(state) < 2:
            raise Refused("the type of an array has a state of another form")
        self.dtype = np.dtype(
            # The constructor was given the type without byte order; the state has it.
            _one_of(_ORDER, state[1], "there is no byte order") + self.dtype.str[1:]
        )


class _Array:
    """Stand-in for an array being built; `value` is the array once it has its content."""

    value: NDArray[Any]

    def build(self, state: Any) -> None:
        """Take version, shape, type, whether by columns, and content."""
        if type(state) is not tuple or len(state) != 5:
            raise Refused("an array has a state of another form")
        # `__setstate__` of an array: version, shape, type, Fortran order, raw bytes.
        _, shape, dtype, by_columns, data = state
        self.fill(shape, dtype, data, "F" if by_columns is True or by_columns == 1 else "C")

    def fill(self, shape: Any, dtype: Any, data: Any, order: Any) -> None:
        """Set the content, checked to have exactly the bytes of its shape and type."""
        if (
            type(shape) is not tuple
            or len(shape) > _DIMENSIONS
            or not all(type(n) is int and n >= 0 for n in shape)
        ):
            raise Refused(f"the shape of an array is at most {_DIMENSIONS} whole numbers")
        if type(dtype) is not _Dtype or type(data) is not bytes:
            raise Refused("an array is of numbers or booleans, and has them as bytes")
        # Python's integers do not overflow, however large the shape of a damaged file.
        if prod(shape) * dtype.dtype.itemsize != len(data):
            raise Refused(f"an array of shape {plain(shape, 80)} does not have {len(data):,} bytes")
        by_columns = type(order) is str and order == "F"
        self.value = np.frombuffer(data, dtype=dtype.dtype).reshape(
            shape, order="F" if by_columns else "C"
        )


class _NdarrayType:
    """Stand-in for the class numpy.ndarray, which a pickle hands to `_reconstruct`."""


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    stand_in = _Array()
    stand_in.fill(shape, dtype, data, order)
    return stand_in


def _scalar(dtype: Any, data: Any) -> Any:
    if type(dtype) is not _Dtype or type(data) is not bytes or len(data) != dtype.dtype.itemsize:
        raise Refused("a number has the wrong number of bytes")
    return np.frombuffer(data, dtype=dtype.dtype)[0].item()


class _Encode:
    """Stand-in for codecs.encode: up to protocol 2, Python 3 writes bytes as text in Latin-1.

    Every call makes bytes, so a text that is kept and encoded again and again would fill the
    memory. Python itself encodes each text once.

    Parameters
    ----------
    most : characters that all calls together may encode: those of the file
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, text: Any, encoding: Any, *_: Any) -> bytes:
        _one_of(_LATIN1, encoding, "Python writes bytes as latin1, not as")
        if type(text) is not str:
            raise Refused("it encodes what is no text")
        self._left -= len(text)
        if self._left < 0:
            raise Refused("it encodes more text than the file has")
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _NdarrayType,
    ("numpy", "dtype"): _Dtype,
    # NumPy 2 renamed numpy.core to numpy._core; files of both exist.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


def loads(data: bytes, where: str) -> Any:
    """Load the lists, tuples, integers, text and bytes of a pickle; for its arrays see `array`.

    Pickles of Python 2 and 3 are read, in every protocol; text of Python 2 becomes bytes.

    Raises
    ------
    DataError : it asks for anything else, or is damaged
    """
    try:
        loaded = Machine(data, {**_ALLOWED, ("_codecs", "encode"): _Encode(len(data))}).run()
        _refuse_deep(loaded)
    except Refused as error:
        # The letters of a text are instructions too.
        if isinstance(error, NotBuilt) and (kind := sniff.hint(data)):
            raise DataError(f"{where} is not a readable pickle{kind}") from error
        raise DataError(f"{where} is refused, and nothing of it was run: {plain(error)}") from error
    except Exception as error:
        raise DataError(
            f"{where} is not a readable pickle{sniff.hint(data) or f' ({cause(error)})'}"
        ) from error
    return loaded


def array(value: Any) -> Any:
    """The array behind a stand-in; other values as they are."""
    return getattr(value, "value", None) if isinstance(value, _Array) else value


def describe(value: Any) -> str:
    """A value from a pickle for a message: integers and booleans themselves, else the type."""
    return repr(value) if type(value) in (int, bool) else f"a {type(value).__name__}"


def _refuse_deep(loaded: Any) -> None:
    """Refuse deeply nested lists and tuples.

    Each is visited once per level, because shared ones could make a tree of exponential size.
    """
    level = [loaded] if type(loaded) in (list, tuple) else []
    for _ in range(_DEEPEST):
        # By `id`, so that a value that is shared by many lists is looked into once.
        inside = {
            id(value): value for holder in level for value in holder if type(value) in (list, tuple)
        }
        level = list(inside.values())
        if not level:
            return
    raise Refused(f"its lists are nested more than {_DEEPEST} deep")


def _one_of(allowed: re.Pattern[str], value: Any, problem: str) -> str:
    """A short text of an allowed form; in pickles of Python 2 it is bytes."""
    text = value.decode("latin1") if type(value) is bytes and len(value) < 100 else value
    if type(text) is not str or not allowed.fullmatch(text):
        raise Refused(
            f"{problem} "
            f"{plain(repr(text[:40]), 60) if type(text) is str else f'a {type(value).__name__}'}"
        )
    return text
