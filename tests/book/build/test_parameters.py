"""A chapter's parameters."""

from typing import Any

import pytest
from tests.book.build.tiny_book import Book

from cdmllab.book.build.notebooks import read_chapter
from cdmllab.book.build.parameters import Parameter, declared, resolve
from cdmllab.errors import CdmlLabError


def parameters(book: Book) -> dict[str, Parameter]:
    return declared("01_first", read_chapter(book.source("01_first")))


def test_declared_reads_names_defaults_and_help(book: Book) -> None:
    result = parameters(book)
    assert list(result) == ["profile", "seed", "rate"]
    assert result["rate"] == Parameter("rate", 1.0, "how fast")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('tags=["parameters"]', 'tags=["remove-cell"]', "has 0 cells tagged 'parameters'"),
        ("seed = 0", "sed = 0", "has no parameter 'seed'"),
        ('profile = "cpu"  # where to compute\n', "", "has no parameter 'profile'"),
        ('"cpu"', '"tpu"', "profile must be one of cpu, gpu; got 'tpu'"),
        ("rate = 1.0  # how fast", "rate = 1.0", "not `rate = 1.0`"),
        ("rate = 1.0 ", "rate = float(1) ", r"not `rate = float\(1\)"),
        ("rate = 1.0 ", "rate = (1, 2) ", r"not `rate = \(1, 2\)"),
        ("rate = 1.0 ", "rate = ", "syntax error"),
    ],
)
def test_invalid_parameters_cell_is_rejected(book: Book, old: str, new: str, sentence: str) -> None:
    book.edit("book/chapters/01_first.py", old, new)
    with pytest.raises(CdmlLabError, match=f"chapter 01_first.*{sentence}"):
        parameters(book)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"profile": "cpu", "seed": 0, "rate": 1.0}),
        ({"seed": "3", "rate": "2"}, {"profile": "cpu", "seed": 3, "rate": 2.0}),
        ({"profile": "gpu", "rate": 2}, {"profile": "gpu", "seed": 0, "rate": 2.0}),
    ],
)
def test_resolve_turns_texts_into_the_type_of_the_default(
    book: Book, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = resolve("01_first", parameters(book), given)
    assert values == expected
    assert [type(value) for value in values.values()] == [str, int, float]


@pytest.mark.parametrize(
    ("default", "text", "expected"),
    [
        (True, "no", False),
        ([1], "[2, 3]", [2, 3]),
        (None, "3", 3),
        (None, "adam", "adam"),
        ("a", "3", "3"),
    ],
)
def test_resolve_reads_every_type(default: object, text: str, expected: object) -> None:
    known = {"profile": Parameter("profile", "cpu", "x"), "it": Parameter("it", default, "x")}
    assert resolve("01_first", known, {"it": text})["it"] == expected


def test_resolve_unknown_name_suggests_a_known_one(book: Book) -> None:
    with pytest.raises(
        CdmlLabError,
        match=r"^chapter 01_first has no parameter 'sede' \(did you mean 'seed'\?\); it has "
        r"profile, seed, ",
    ):
        resolve("01_first", parameters(book), {"sede": 1})


@pytest.mark.parametrize("wrong", ["fast", "1.5", 1.5, True, None, [1]])
def test_resolve_rejects_another_type(book: Book, wrong: object) -> None:
    with pytest.raises(
        CdmlLabError, match=r"chapter 01_first: parameter 'seed' must be an int, such as 0; got"
    ):
        resolve("01_first", parameters(book), {"seed": wrong})
