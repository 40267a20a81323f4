"""What pydantic reports, in the form of this project's messages."""

from pydantic import ValidationError

from cdmllab.errors import plain


def first_error(error: ValidationError) -> tuple[str, str]:
    """The key of the first error, with dots and printable, and its message."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = plain(".".join(map(str, first["loc"])), 100)
    # pydantic's prefix of an error that one of our own validators has raised.
    return key, first["msg"].removeprefix("Value error, ")
