"""Fingerprints of a chapter's inputs, kept in parts so that a change can be named."""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from cdmllab.book.build.import_graph import reach
from cdmllab.book.build.layout import Layout
from cdmllab.book.build.notebooks import as_text
from cdmllab.errors import CdmlLabError

Fingerprint = dict[str, Any]

RUNNER = 1  # incremented when the way of running chapters or of storing their outputs changes
LARGE_BYTES = 8 * 2**20
# A line such as %matplotlib or !ls; its indent is kept.
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def fingerprint(
    layout: Layout, chapter: str, notebook: NotebookNode, parameters: Mapping[str, Any]
) -> Fingerprint:
    """The inputs of a chapter: text, parameters, the code that it reaches, versions, and data.

    Data are the files that match the globs in the chapter's header,
    ``cdmllab: {data: ["results/*.json"]}``, relative to the repository root.

    Raises
    ------
    CdmlLabError : the header has another form, or a cell does not parse
    """
    # The code of the cells, and all of the package that their imports reach.
    code = _parsed(chapter, notebook)
    reached = reach(code, layout.package)
    return {
        "runner": RUNNER,
        "source": _digest(as_text(notebook).encode()),
        "parameters": dict(parameters),
        "code": {
            name: hash_file(path)
            for name, path in sorted({**reached.modules, **reached.data}.items())
        },
        "data": {
            layout.show(path): hash_file(path) for path in _data_files(layout, chapter, notebook)
        },
        "versions": {
            # Patch releases compute the same.
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            **versions(reached.third_party),
        },
    }


def changes(old: Fingerprint | None, new: Fingerprint) -> list[str]:
    """The reasons to rerun a chapter with the fingerprint `old`, a phrase for each change."""
    if old is None:
        return ["never run"]
    reasons = []
    if old.get("runner") != new["runner"]:
        reasons.append("the way of running chapters changed")
    if old.get("source") != new["source"]:
        reasons.append("source changed")
    reasons += [
        f"parameter {key}: {was!r} -> {now!r}"
        for key, was, now in _differences(old, new, "parameters")
    ]
    reasons += [f"{key} {_change(was, now)}" for key, was, now in _differences(old, new, "code")]
    reasons += [f"{key} {_change(was, now)}" for key, was, now in _differences(old, new, "data")]
    reasons += [
        f"{key} {was or 'absent'} -> {now or 'absent'}"
        for key, was, now in _differences(old, new, "versions")
    ]
    return reasons


def hash_file(path: Path) -> str:
    """A file's digest, or for a large file, which is slow to read, its size and change time."""
    stat = path.stat()
    if stat.st_size > LARGE_BYTES:
        return f"{stat.st_size} bytes, {stat.st_mtime_ns} ns"
    return _digest(path.read_bytes())


def versions(modules: set[str]) -> dict[str, str]:
    """The versions of the distributions that contain some top-level modules."""
    known = _distributions()
    names = {distribution for module in modules for distribution in known.get(module, [])}
    return {name: version(name) for name in sorted(names)}


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _parsed(chapter: str, notebook: NotebookNode) -> list[str]:
    """The sources of the code cells, without magics, after a check that each can be parsed."""
    sources = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            source = _MAGIC.sub(r"\1pass", cell.source)
            try:
                ast.parse(source)
            except SyntaxError as error:
                raise CdmlLabError(
                    f"chapter {chapter}, cell {number}, line {error.lineno} does not parse: "
                    f"{error.msg}"
                ) from error
            sources.append(source)
    return sources


def _data_files(layout: Layout, chapter: str, notebook: NotebookNode) -> list[Path]:
    # The header may list globs of data files, and nothing else.
    header = notebook.metadata.get("cdmllab", {})
    globs = header.get("data", []) if isinstance(header, dict) else None
    if (
        not isinstance(globs, list)
        or not all(isinstance(glob, str) for glob in globs)
        or set(header) - {"data"}
    ):
        raise CdmlLabError(
            f"chapter {chapter}: the header must have the form `cdmllab: {{data: [GLOB, ...]}}`, "
            f"got {header!r}"
        )
    try:
        return sorted({path for glob in globs for path in layout.root.glob(glob) if path.is_file()})
    except (ValueError, NotImplementedError) as error:
        raise CdmlLabError(
            f"chapter {chapter}: the data globs {globs} in its header are invalid: {error}"
        ) from error


def _differences(old: Fingerprint, new: Fingerprint, part: str) -> Iterator[tuple[str, Any, Any]]:
    was, now = old.get(part, {}), new[part]
    for key in sorted({*was, *now}):
        # A key with the value None differs from no key at all.
        if was.get(key) != now.get(key) or (key in was) != (key in now):
            yield key, was.get(key), now.get(key)


def _change(before: str | None, after: str | None) -> str:
    return "is new" if before is None else "was removed" if after is None else "changed"
