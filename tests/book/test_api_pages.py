"""The reference has every public name, and docstrings are rendered correctly."""

import importlib
import re

import pytest
import yaml

import cdmllab


@pytest.fixture
def cdml_api(monkeypatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "book/_ext")
    import cdml_api

    return cdml_api


@pytest.fixture
def modules(pytestconfig):
    """The modules documented on each page."""
    pages = (pytestconfig.rootpath / "book/api").glob("*.md")
    result = {
        page.stem: re.search(r"```\{cdml-api\} (.+)", page.read_text())[1].split() for page in pages
    }
    return {
        page: [importlib.import_module(name) for name in names] for page, names in result.items()
    }


def anchors(cdml_api, modules):
    """The full names documented on the pages."""
    result = set()
    for module in (module for page in modules.values() for module in page):
        names = re.findall(
            r"^\.\. (?:auto\w+|py:\w+):: (\S+)$", "\n".join(cdml_api.described(module)), re.M
        )
        result |= {
            name if name.startswith("cdmllab.") else f"{module.__name__}.{name}" for name in names
        }
    return result


def test_every_public_module_has_a_page_in_the_table_of_contents(modules, pytestconfig):
    toc = yaml.safe_load((pytestconfig.rootpath / "book/_toc.yml").read_text())
    (api,) = (page for page in toc["parts"][-1]["chapters"] if page["file"] == "api")
    assert toc["parts"][-1]["caption"] == "Reference"
    assert {section["file"] for section in api["sections"]} == {
        f"api/{name}" for name in cdmllab.__all__
    }
    assert set(modules) == set(cdmllab.__all__)


def test_every_public_name_is_described(cdml_api, modules):
    described = anchors(cdml_api, modules)
    assert {
        "cdmllab.heads.create",
        "cdmllab.metrics.verification.roc",
        "cdmllab.faces.SIZES",
    } < described
    for room in cdmllab.__all__:
        module = getattr(cdmllab, room)
        for name in getattr(module, "__all__", ()):
            public = f"{module.__name__}.{name}"
            assert public in described or getattr(module, name) in modules[room]


def test_chapters_link_only_to_documented_names(cdml_api, modules, pytestconfig):
    described = anchors(cdml_api, modules)
    linked = {
        name
        for chapter in (pytestconfig.rootpath / "book/chapters").glob("*.py")
        for name in re.findall(r"\{py:\w+\}`[^`<]*<([\w.]+)>`", chapter.read_text())
    }
    rooms = {name.split(".")[1] for name in linked}
    assert rooms == set(cdmllab.__all__)
    assert linked <= described


def test_sections_of_a_docstring_become_fields(cdml_api):
    docstring = """Sum a thing_.

Parameters
----------
first, second : shape (n,), see `heads.create`
    and `f(x)`
third,
fourth : both

Raises
------
ValueError : too few

Examples
--------
>>> 1 + 1
2

.. _thing: address"""
    assert [line for line in cdml_api.fields(docstring.splitlines()) if line] == [
        "Sum a `thing <address>`__.",
        ":param first,\u2060second: shape (n,), see :py:obj:`heads.create`",
        "    and ``f(x)``",
        ":param third,\u2060fourth: both",
        ":raises ValueError: too few",
        ".. rubric:: Examples",
        ">>> 1 + 1",
        "2",
    ]


def test_signatures_use_the_names_of_the_source(cdml_api):
    union = cdml_api.stringify_annotation(cdml_api.ArrayLike, "smart")
    given = f"(x: {union}, prepare=<function plain>, more: dict = <factory>)"
    array = "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.float64]]"
    assert cdml_api._short(None, "function", "f", None, None, given, array) == (
        "(x: ArrayLike, prepare=plain, more: dict = ...)",
        "NDArray[float64]",
    )
    assert cdml_api._short(None, "class", "C", None, None, None, None) == (None, None)


@pytest.mark.book
def test_built_pages_have_an_anchor_for_every_name(cdml_api, modules, site):
    for page, described in modules.items():
        text = (site / f"api/{page}.html").read_text(encoding="utf-8")
        expected = anchors(cdml_api, {page: described}) - {module.__name__ for module in described}
        missing = {
            name
            for name in expected
            if f'id="{name}"' not in text and f'id="module-{name}"' not in text
        }
        assert not missing
    assert ">Parameters" in text
    assert "system-message" not in text
