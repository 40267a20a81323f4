"""Every name on the page of the architecture exists."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE)))
PATHS = sorted(set(re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`|`(\w+_scripts|benchmarks)`", PAGE)))


def in_the_tree(path: str) -> Path:
    return next(
        (base / path for base in (ROOT, ROOT / "src/cdmllab") if (base / path).exists()),
        ROOT / path,
    )


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_function_exists_where_the_page_places_it(file, name):
    target = importlib.import_module(f"cdmllab.{file.removesuffix('.py').replace('/', '.')}")
    for part in name.split("."):
        target = getattr(target, part)


@pytest.mark.parametrize("path", [one or other for one, other in PATHS])
def test_path_of_the_page_exists(path):
    assert in_the_tree(path).exists()


def test_subpackages_of_the_page_are_those_of_the_package():
    drawn = PAGE.split("```")[1]
    package = ROOT / "src/cdmllab"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {
        path.stem for path in package.glob("*.py")
    }
    columns = {word for line in drawn.splitlines() for word in re.split(r"\s{2,}", line.strip())}
    assert rooms - {"__init__", "__main__"} <= {word.split(" ")[0] for word in columns}
