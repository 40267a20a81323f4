"""Optional packages are reported by the extra that installs them."""

import re
import tomllib
from pathlib import Path

import pytest

from cdmllab.errors import CdmlLabError, MissingPackageError, optional, require

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_missing_package_names_its_extra():
    with (
        pytest.raises(MissingPackageError) as caught,
        optional("plots", "a figure"),
    ):
        import no_such_package.part  # noqa: F401
    assert str(caught.value) == (
        'a figure needs no_such_package, which is not installed: pip install "cdmllab[plots]"'
    )
    assert caught.value.name == "no_such_package"
    assert isinstance(caught.value, CdmlLabError)
    assert isinstance(caught.value, ImportError)


def test_inner_message_is_kept():
    with (
        pytest.raises(MissingPackageError, match=r"^UMAP needs .*\[analysis\]"),
        optional("plots", "a figure"),
        optional("analysis", "UMAP"),
    ):
        import no_such_package  # noqa: F401


def test_missing_module_of_the_package_is_not_a_missing_package():
    with pytest.raises(ModuleNotFoundError) as caught, optional("plots", "a figure"):
        import cdmllab.no_such_module  # noqa: F401
    assert not isinstance(caught.value, CdmlLabError)


def test_require_looks_for_modules_without_importing_them():
    require("book", "the book", "json")
    with pytest.raises(MissingPackageError, match=r"^the book needs no_such_package"):
        require("book", "the book", "json", "no_such_package")


def test_extras_in_the_code_are_in_pyproject():
    used = {
        extra
        for path in (ROOT / "src").rglob("*.py")
        for extra in re.findall(r'(?<![.\w])(?:optional|require)\(\s*"(\w+)"', path.read_text())
    }
    assert {"analysis", "pairs", "plots", "book"} <= used <= set(EXTRAS)
