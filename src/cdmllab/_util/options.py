"""Check options from a file against the annotations of the function that takes them."""

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

from cdmllab._util.validation import first_error
from cdmllab.errors import plain

MOST = 10_000_000
"""The largest integer option but for seeds: a larger width or count would fill any memory."""


def check(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options whose type differs from the annotation, and absurdly large numbers.

    Names that are not parameters are left to the function itself.

    Parameters
    ----------
    function : a function, a class or a `functools.partial` of one
    options : by name, as parsed from JSON or YAML

    Raises
    ------
    ValueError : names the option, what was expected and what was given
    """
    kinds = _kinds(getattr(function, "func", function))  # of a partial, its function
    for key, value in options.items():
        if isinstance(value, int) and abs(value) > MOST and not key.endswith("seed"):
            raise ValueError(f"option {key!r} is {plain(value, 40)}; at most {MOST:,} is allowed")
        if key not in kinds:
            continue
        try:
            # As JSON, in which a strict validator accepts a list for a tuple.
            kinds[key].validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            _, message = first_error(error)
            raise ValueError(
                f"option {key!r}: {message}, got {plain(json.dumps(value), 60)}"
            ) from None


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """A validator for each parameter; those whose annotation is not a plain type are left out."""
    adapters = {}
    for key, parameter in inspect.signature(function).parameters.items():
        try:
            adapters[key] = TypeAdapter(
                parameter.annotation, config=ConfigDict(allow_inf_nan=False)
            )
        except (PydanticSchemaGenerationError, PydanticUserError):
            continue
    return adapters
