"""Options that come from a file, checked against the function that takes them: a wrong type is
named by its key.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import (
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from cdmllab.errors import plain

MOST = 10_000_000
"""The largest whole number that is not a seed: a width or count beyond it fills any memory."""


def check(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options of another type than the function's annotations say, and numbers beyond all
    measure.

    Names that the function does not have are left to it.

    Parameters
    ----------
    function : a function, a class or a `functools.partial` of one
    options : by name, as JSON or YAML gives them

    Raises
    ------
    ValueError : naming the option, what it should be and what it is
    """
    kinds = _kinds(getattr(function, "func", function))
    for key, value in options.items():
        if isinstance(value, int) and abs(value) > MOST and not key.endswith("seed"):
            raise ValueError(
                f"option {key!r} is {plain(value, 40)}, and no more than {MOST:,} is allowed"
            )
        if key not in kinds:
            continue
        try:
            kinds[key].validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            said = error.errors(include_url=False, include_context=False, include_input=False)[0][
                "msg"
            ]
            raise ValueError(
                f"option {key!r}: {said}, got {plain(json.dumps(value), 60)}"
            ) from None


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """By name, what checks a value against the annotation; without those that are no plain
    values.
    """
    found = {}
    for key, parameter in inspect.signature(function).parameters.items():
        try:
            found[key] = TypeAdapter(parameter.annotation, config=ConfigDict(allow_inf_nan=False))
        except (PydanticSchemaGenerationError, PydanticUserError):
            continue
    return found
