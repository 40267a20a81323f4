"""A minimal pickle interpreter: only the instructions that plain values and arrays need.

They build lists, tuples, integers, text and bytes, and call functions of a given table. No value is
ever hashed, compared or printed, because a few hundred bytes can describe a tuple that takes a year
to hash. Lengths are compared with the rest of the file before memory is allocated for them.

Source: CPython, ``pickletools.py``, which documents every instruction.
"""

import codecs
import re
import struct
from collections.abc import Callable, Mapping
from functools import partial
from mmap import mmap
from typing import Any, ClassVar

MOST = 1_000_000  # instructions; a bin of 12,000 images has 30,000, one of as many arrays 200,000
# Characters of a number and of a name, arguments of a call.
_LONGEST_NUMBER, _LONGEST_NAME, _MOST_GIVEN = 24, 100, 8
_INTEGER = re.compile(rb"-?[0-9]{1,20}")
_QUOTED = re.compile(
    rb"""(?s:(['"])((?:[^\\]|\\[\\'"nrt]|\\x[0-9a-f]{2})*)\1)"""
)  # as Python 2 writes a text
# Instructions that the interpreter knows only well enough to name them in the refusal.
_NOT_BUILT = {
    **dict.fromkeys(b"}dus", "a dictionary"),
    **dict.fromkeys(b"\x8f\x90\x91", "a set"),
    **dict.fromkeys(b"FG", "a number with a fraction"),
    **dict.fromkeys(b"io\x81\x92", "an object"),
    **dict.fromkeys(b"PQ\x82\x83\x84\x97\x98", "a value that is not in the file"),
    **dict.fromkeys(b"012", "values that it throws away"),
    ord(b"\x8b"): "a number of more than 64 bits",
}


class Refused(Exception):  # noqa: N818  (it says what happens)
    """A pickle asks for something that is not allowed."""


class NotBuilt(Refused):
    """A pickle asks for a kind of value that the files read here never contain."""


class Machine:
    """A pickle being interpreted, with its stack and its memo of values for reuse.

    Parameters
    ----------
    data : the pickle
    allowed : the stand-in for each (module, name); it is called with whatever arguments the pickle
        gives. A pickle can change only objects with a method ``build``, through it
    at : where it begins; after `run`, where it ended
    """

    most = 0  # instructions; 0: `MOST`
    steps: ClassVar[dict[int, Callable[[Any], object]]]  # what each instruction does, by its byte

    def __init__(
        self, data: bytes | mmap, allowed: Mapping[tuple[str, str], Callable[..., Any]], at: int = 0
    ) -> None:
        self._data, self.at, self._allowed = data, at, allowed
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Run the instructions to the end.

        Raises
        ------
        Refused : by an instruction or a name that is not on the list
        Exception : of any other kind where the pickle is damaged
        """
        # A fixed number of instructions bounds the time, whatever the pickle does.
        most = self.most or MOST
        for _ in range(most):
            code = self._take(1)[0]
            if code == ord("."):
                return self._stack.pop()
            step = self.steps.get(code)
            if step is not None:
                step(self)
            elif code in _NOT_BUILT:
                raise NotBuilt(f"it contains {_NOT_BUILT[code]}, which no such file does")
            else:
                raise ValueError(f"the byte 0x{code:02x} is no instruction of a pickle")
        raise Refused(f"it has more than {most:,} instructions")

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self.at:
            raise ValueError("it ends early")
        self.at += count
        return self._data[self.at - count : self.at]

    def _read(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _line(self, longest: int | None = None) -> bytes:
        limit = len(self._data) if longest is None else self.at + longest + 1
        end = self._data.find(b"\n", self.at, limit)
        if end < 0:
            raise ValueError("a line has no end")
        return self._take(end + 1 - self.at)[:-1]

    def _number(self, line: bytes) -> int:
        if not _INTEGER.fullmatch(line):
            raise ValueError("expected a whole number")
        return int(line)

    def _marked(self) -> list[Any]:
        """Pop what was pushed since the last mark."""
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _integer(self, form: str) -> None:
        self._push(self._read(form))

    def _integer_line(self) -> None:
        # The text protocol writes booleans as the numbers
        # 00 and 01, and only these with a zero in front.
        line = self._line(_LONGEST_NUMBER)
        self._push(
            {b"00": False, b"01": True}[line] if line in (b"00", b"01") else self._number(line)
        )

    def _long(self) -> None:
        count = self._read("<B")
        if count > 9:  # one of 64 bits without a sign takes nine bytes
            raise Refused("it contains a number of more than 64 bits")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _long_line(self) -> None:
        self._push(self._number(self._line(_LONGEST_NUMBER).removesuffix(b"L")))

    def _bytes(self, form: str) -> None:
        self._push(self._take(self._read(form)))

    def _quoted_line(self) -> None:
        match = _QUOTED.fullmatch(self._line())  # as long as the file allows
        if match is None:
            raise ValueError("a text is not as Python writes it")
        self._push(codecs.escape_decode(match[2])[0])

    def _text(self, form: str) -> None:
        self._push(self._take(self._read(form)).decode("utf-8", "surrogatepass"))

    def _text_line(self) -> None:
        self._push(self._line().decode("raw-unicode-escape"))

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise ValueError("a tuple has too few values")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(items)

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError("only a list can be appended to")
        target.extend(values)

    def _name_lines(self) -> None:
        module, name = (self._line(_LONGEST_NAME).decode("ascii") for _ in range(2))
        self._named(module, name)

    def _named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name must be text")
        if (module, name) not in self._allowed:
            raise Refused(f"it asks for {module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}")
        self._push(self._allowed[module, name])

    def _call(self, given: Any, function: Any) -> None:
        # By identity and never by equality, which could run for as long as the values allow.
        known = any(function is one for one in self._allowed.values())
        if not known or type(given) is not tuple or len(given) > _MOST_GIVEN:
            raise Refused("it calls what is no function of an array")
        self._push(function(*given))

    def _build(self, state: Any) -> None:
        # Looked up on the type: only the classes of our own stand-ins define it.
        build = getattr(type(self._stack[-1]), "build", None)
        if build is None:
            raise Refused("it changes what is no array")
        build(self._stack[-1], state)

    def _put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise ValueError("it asks for a value that it did not keep")
        self._push(self._memo[key])


def _steps() -> dict[int, Callable[[Machine], object]]:
    """What each instruction does, by its byte."""
    table: dict[bytes, Callable[[Machine], object]] = {
        b"\x80": lambda it: it._take(1),  # the protocol
        b"\x95": lambda it: it._take(8),  # the length of a frame, for reading ahead
        b"(": Machine._mark,
        b"N": lambda it: it._push(None),
        b"\x88": lambda it: it._push(True),
        b"\x89": lambda it: it._push(False),
        b"I": Machine._integer_line,
        b"L": Machine._long_line,
        b"\x8a": Machine._long,
        **{
            code: partial(Machine._integer, form=form)
            for code, form in ((b"J", "<i"), (b"K", "<B"), (b"M", "<H"))
        },
        b"S": Machine._quoted_line,
        b"V": Machine._text_line,
        **{code: partial(Machine._bytes, form="<B") for code in (b"U", b"C")},
        b"T": partial(Machine._bytes, form="<i"),
        b"B": partial(Machine._bytes, form="<I"),
        **{code: partial(Machine._bytes, form="<Q") for code in (b"\x8e", b"\x96")},
        **{
            code: partial(Machine._text, form=form)
            for code, form in ((b"\x8c", "<B"), (b"X", "<I"), (b"\x8d", "<Q"))
        },
        b")": lambda it: it._push(()),
        b"t": lambda it: it._push(tuple(it._marked())),
        **{
            code: partial(Machine._tuple, count=n)
            for code, n in ((b"\x85", 1), (b"\x86", 2), (b"\x87", 3))
        },
        b"]": lambda it: it._push([]),
        b"l": lambda it: it._push(it._marked()),
        b"a": lambda it: it._extend([it._stack.pop()]),
        b"e": lambda it: it._extend(it._marked()),
        b"c": Machine._name_lines,
        b"\x93": lambda it: it._named(name=it._stack.pop(), module=it._stack.pop()),
        b"R": lambda it: it._call(given=it._stack.pop(), function=it._stack.pop()),
        b"b": lambda it: it._build(it._stack.pop()),
        b"p": lambda it: it._put(it._number(it._line(_LONGEST_NUMBER))),
        b"q": lambda it: it._put(it._read("<B")),
        b"r": lambda it: it._put(it._read("<I")),
        b"\x94": lambda it: it._put(len(it._memo)),
        b"g": lambda it: it._get(it._number(it._line(_LONGEST_NUMBER))),
        b"h": lambda it: it._get(it._read("<B")),
        b"j": lambda it: it._get(it._read("<I")),
    }
    return {code[0]: step for code, step in table.items()}


_STEPS = Machine.steps = _steps()
