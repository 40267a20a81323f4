"""The parameters of a chapter and their values."""

import ast
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from cdmllab.errors import CdmlLabError, did_you_mean

PROFILES = ("cpu", "gpu")
REQUIRED = ("profile", "seed")
# How a boolean can be written on the command line.
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: ``seed = 0  # where every random number starts``."""

    name: str
    default: Any
    help: str


def declared(chapter: str, notebook: NotebookNode) -> dict[str, Parameter]:
    """Read the cell tagged ``parameters``: literals, each with a comment that explains it.

    Raises
    ------
    CdmlLabError : there is not exactly one such cell, a line is not ``name = literal  # help``, or
        one of `REQUIRED` is missing
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise CdmlLabError(
            f"chapter {chapter} has {len(cells)} cells tagged 'parameters'; it needs exactly one"
        )
    source = cells[0].source
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise CdmlLabError(
            f"chapter {chapter}: its parameters cell has a syntax error, {error}"
        ) from error
    comments = _comments(source)  # by line; ast drops them
    parameters = {}
    for statement in statements:
        parameter = _parameter(statement, comments)
        if parameter is None:
            line = source.splitlines()[statement.lineno - 1]
            raise CdmlLabError(
                f"chapter {chapter}: the parameters cell needs `name = literal  # help`, not "
                f"`{line}`"
            )
        parameters[parameter.name] = parameter
    for name in REQUIRED:
        if name not in parameters:
            raise CdmlLabError(
                f"chapter {chapter} has no parameter {name!r}: every chapter needs "
                f"{' and '.join(REQUIRED)}"
            )
    _check_profile(chapter, parameters["profile"].default)
    return parameters


def resolve(
    chapter: str, parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The value of every parameter: the given one, in the default's type, or the default.

    A string from the command line is parsed according to the type of the default: ``"3"`` becomes
    3 for an integer.

    Raises
    ------
    CdmlLabError : the chapter has no such parameter, or a value has another type than the default
    """
    # An unknown name is refused; papermill would only warn and use the default.
    for name in given:
        if name not in parameters:
            hint = did_you_mean(name, parameters)
            raise CdmlLabError(
                f"chapter {chapter} has no parameter {name!r}{hint}; it has {', '.join(parameters)}"
            )
    values = {
        name: _convert(chapter, parameter, given.get(name, parameter.default))
        for name, parameter in parameters.items()
    }
    _check_profile(chapter, values["profile"])
    return values


def _comments(source: str) -> dict[int, str]:
    """The comment on each line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _parameter(statement: ast.stmt, comments: Mapping[int, str]) -> Parameter | None:
    match statement:
        case (  # name = value, or name: type = value
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            help_text = comments.get(statement.end_lineno or 0, "")
        case _:
            return None
    try:
        default = ast.literal_eval(value)
        # Tuples, sets and bytes do not survive JSON, so papermill cannot pass them.
        plain = json.loads(json.dumps(default)) == default
    except (ValueError, TypeError):
        return None
    return Parameter(name, default, help_text) if plain and help_text else None


def _convert(chapter: str, parameter: Parameter, value: Any) -> Any:
    kind = type(parameter.default)
    try:
        # From the command line every value is a string.
        if isinstance(value, str) and kind is not str:
            value = _read(value, kind)
        if kind is float and type(value) is int:
            value = float(value)
        if parameter.default is not None and type(value) is not kind:  # True is no integer here
            raise ValueError
    except (ValueError, SyntaxError, KeyError):
        raise CdmlLabError(
            f"chapter {chapter}: parameter {parameter.name!r} must be {_article(kind.__name__)}, "
            f"such as {parameter.default!r}; got {value!r}"
        ) from None
    return value


def _read(text: str, kind: type) -> Any:
    if kind is bool:
        return _WORDS[text.lower()]
    if kind in (int, float):
        return kind(text)
    try:
        return ast.literal_eval(text)
    # A default of None accepts any literal, and text without quotes.
    except (ValueError, SyntaxError):
        if kind is type(None):
            return text
        raise


def _check_profile(chapter: str, profile: object) -> None:
    if profile not in PROFILES:
        raise CdmlLabError(
            f"chapter {chapter}: profile must be one of {', '.join(PROFILES)}; got {profile!r}"
        )


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
