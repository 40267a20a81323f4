"""The modules, data files and third-party packages that code reaches through its imports.

grimp would read the package's imports ten times as fast, but it can only find packages by name in
the current process, while a book may be in any folder. The imports of cells and the module names in
strings have to be parsed here in any case.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# The code that runs the chapters does not affect what they compute.
MACHINERY = (("book", "build"), ("cli",))


@dataclass
class Reach:
    """Modules by dotted name, data files by path, and top-level names of other packages."""

    modules: dict[str, Path] = field(default_factory=dict)
    data: dict[str, Path] = field(default_factory=dict)
    third_party: set[str] = field(default_factory=set)


def reach(sources: Iterable[str], package: Path) -> Reach:
    """Follow the imports of some code through a package.

    Imports inside functions count, and so do strings that are the full name of a module. A module
    also reaches the packages that contain it, and a package the files in it that are not Python.
    The root package counts only if one of its own names is imported; otherwise every module would
    depend on every other.

    Parameters
    ----------
    sources : pieces of code; those that do not parse are skipped, and will fail when they are run
    package : the folder of the root package
    """
    # Follow names until no new module is found; each is looked at once.
    result = Reach()
    waiting = [name for source in sources for name in _imported(source, "", package)]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.split(".")[0] != package.name:
            result.third_party.add(name.split(".")[0])
            continue
        for module, path in _modules(name, package):
            if module in result.modules:
                continue
            result.modules[module] = path
            is_package = path.name == "__init__.py"
            if is_package and module != package.name:
                result.data.update(
                    {
                        file.relative_to(package.parent).as_posix(): file
                        for file in _data(path.parent)
                    }
                )
            # Relative imports count from the package that contains the module.
            inside = module if is_package else module.rpartition(".")[0]
            waiting += _imported(path.read_text(encoding="utf-8"), inside, package)
    result.third_party -= sys.stdlib_module_names
    return result


def _imported(source: str, inside: str, package: Path) -> Iterator[str]:
    """The dotted names that code in the package `inside` imports.

    The last part of a name may be a function or class of the module before it.
    """
    imports, texts = _names(source)
    for level, module, name in imports:
        parents = inside.split(".")
        # One dot is the package itself, each further dot one level up.
        above = parents[: len(parents) - level + 1] if level else []
        yield ".".join([*above, *([module] if module else []), name])
    # Such a string may import the module lazily, for instance from a registry.
    for text in texts:
        if text.startswith(f"{package.name}.") and _locate(text, package):
            yield text


@cache  # every chapter reaches the same modules, and parsing them all takes a second
def _names(source: str) -> tuple[list[tuple[int, str | None, str]], list[str]]:
    """The imports of code, as (level, module, name), and strings that may name modules."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return [], []
    imports: list[tuple[int, str | None, str]] = []
    texts = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imports += [(0, None, alias.name) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                imports += [(level, module, alias.name) for alias in names]
            case ast.Constant(value=str(text)) if "." in text and " " not in text:
                texts.append(text)
    return imports, texts


def _modules(name: str, package: Path) -> Iterator[tuple[str, Path]]:
    """The modules that run when a dotted name is imported; the root only for its own names."""
    parts = name.split(".")
    if any(tuple(parts[1 : 1 + len(room)]) == room for room in MACHINERY):
        return
    # The packages that contain the module, and the module itself.
    prefixes = [".".join(parts[:count]) for count in range(2, len(parts) + 1)]
    located = [(prefix, path) for prefix in prefixes if (path := _locate(prefix, package))]
    root = package / "__init__.py"
    if not located and root.is_file():
        located = [(package.name, root)]
    yield from located


def _locate(module: str, package: Path) -> Path | None:
    """The file of a module of the package."""
    stem = package.parent.joinpath(*module.split("."))
    # A package, or else a module.
    for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
        if path.is_file():
            return path
    return None


def _data(folder: Path) -> Iterator[Path]:
    """The files of a package that are not Python, including subfolders but not subpackages."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not (path / "__init__.py").is_file():
                yield from _data(path)
        elif path.suffix not in (".py", ".pyc"):
            yield path
