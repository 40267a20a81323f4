"""Deliberate damage: a file unchanged, slightly changed, or changed inside its format."""

import io
import json
import random
import struct
import zipfile
from pathlib import PurePath
from typing import Any

import yaml

LARGEST = 1 << 18  # bytes of what is made
_BYTES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\r",
    b"\n",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
)
_TEXT = (
    b"[" * 2000,
    b"{" * 2000,
    b'{"a":' * 500,
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"&a [*a]",
    b"<<: *a",
    b"!!python/object/apply:os.system [id]",
    b"../../../../etc/passwd",
    b"/dev/zero",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"\x80\x04\x95",
    b"cos\nsystem\n",
)
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        2**64,
        10**30,
        -(10**30),
        0.5,
        -0.0,
        1e308,
        1e-320,
    ),
    *(
        float("inf"),
        float("nan"),
        "",
        "a",
        "a" * 5000,
        "\x00",
        "\ud800",
        "../x",
        "/dev/zero",
        "lab/*",
        "*" * 300,
    ),
    *(
        [],
        {},
        [[]],
        [1, "a"],
        {"a": {"a": {}}},
        [0] * 500,
        {"name": "arcface"},
        [[1, 2], [3]],
        "1e3",
        "cuda",
    ),
)


def mutated(name: str, content: bytes, rng: random.Random) -> bytes:
    """The content of a file called `name`, changed one to four times."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        inside = _INSIDE.get(PurePath(name).suffix)
        changed = None
        if inside is not None and rng.random() < 0.6:
            try:
                changed = inside(content, rng)
            except Exception:  # damaged by an earlier round: it is bytes now
                changed = None
        content = raw(content, rng) if changed is None else changed
    return content[:LARGEST]


def raw(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed without regard to their meaning."""
    at = rng.randrange(len(content) + 1)
    length = min(rng.choice((1, 1, 2, 4, 8, 64, 1024)), len(content) - at)
    before, part, after = content[:at], content[at : at + length], content[at + length :]
    return rng.choice(
        (
            lambda: (
                before + bytes(b ^ (1 << rng.randrange(8)) for b in part[:1]) + part[1:] + after
            ),
            lambda: before + rng.randbytes(length) + after,
            lambda: before + after,  # something is missing
            lambda: before,  # the rest is missing
            lambda: before + part * rng.choice((2, 3, 50)) + after,
            lambda: before + rng.choice(_BYTES) + after,
            lambda: before + rng.choice(_TEXT) + after,
            lambda: (
                before
                + struct.pack(rng.choice(("<I", ">I")), rng.choice((0, 1, 2**31 - 1, 2**32 - 1)))
                + after[4:]
            ),
            lambda: (
                before
                + struct.pack("<Q", rng.choice((0, 2**32, 2**40, 2**63 - 1, 2**64 - 1)))
                + after[8:]
            ),
            lambda: after + part + before,
        )
    )()


def value(tree: Any, rng: random.Random) -> Any:
    """A tree of dicts and lists with one of its values or keys replaced."""
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting and len(places) < 5000:
        node = waiting.pop()
        for key in (
            node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        ):
            places.append((node, key))
            waiting.append(node[key])
    if not places:
        return rng.choice(_VALUES)
    node, key = rng.choice(places)
    how = rng.random()
    if how < 0.15 and isinstance(node, dict):
        node[rng.choice(("", "a", "name", "../x", "k" * 3000, *map(str, node)))] = node.pop(key)
    elif how < 0.3:
        del node[key]
    elif how < 0.4:
        node[key] = [node[key]]
    elif how < 0.5:
        other, there = rng.choice(places)
        node[key] = (
            json.loads(json.dumps(other[there]))
            if there in other or isinstance(other, list)
            else None
        )
    else:
        node[key] = rng.choice(_VALUES)
    return tree


def _json(content: bytes, rng: random.Random) -> bytes:
    return json.dumps(value(json.loads(content), rng)).encode("utf-8", "surrogatepass")


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = rng.choice(
        (lambda: _json(lines[at], rng), lambda: json.dumps(rng.choice(_VALUES)).encode())
    )()
    return b"\n".join(lines)


def _yaml(content: bytes, rng: random.Random) -> bytes:
    if len(content) > 10_000 or b"*" in content:  # would take long here already
        return raw(content, rng)
    return yaml.safe_dump(value(yaml.safe_load(content), rng)).encode("utf-8", "surrogatepass")


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.random() < 0.5 and "__metadata__" in header:
        metadata = header["__metadata__"]
        key = rng.choice(list(metadata))
        metadata[key] = (
            _json(metadata[key].encode(), rng).decode("utf-8", "replace")
            if metadata[key][:1] in "[{"
            else rng.choice(("", "r100"))
        )
    else:
        header = value(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + rest


def _zip(content: bytes, rng: random.Random) -> bytes:
    """One member changed, with a matching checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        if sum(member.file_size for member in old.infolist()) > 4 * LARGEST:
            return raw(content, rng)
        members = [(member, old.read(member)) for member in old.infolist()]
    at = rng.randrange(len(members))
    stream = io.BytesIO()
    packed = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", packed) as new:
        for number, (member, inner) in enumerate(members):
            new.writestr(member.filename, raw(inner, rng) if number == at else inner)
            if number == at and rng.random() < 0.05:
                new.writestr(rng.choice((member.filename, "../x", "")), inner)
    return stream.getvalue()


_INSIDE = {
    ".json": _json,
    ".jsonl": _lines,
    ".yaml": _yaml,
    ".safetensors": _safetensors,
    ".npz": _zip,
    ".pth": _zip,
}
