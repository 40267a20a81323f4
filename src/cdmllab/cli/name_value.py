"""`-p NAME VALUE` on the command line, as in papermill."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from cdmllab.errors import CdmlLabError

FLAGS = ("-p", "--parameter")


class WithParameters(TyperCommand):
    """A command that takes ``-p NAME VALUE`` any number of times.

    Typer's own list options take one value each.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, joined(args))


def joined(args: Sequence[str]) -> list[str]:
    """Rewrite each ``-p NAME VALUE`` as ``-p NAME=VALUE``."""
    result: list[str] = []
    for arg in args:
        # The last two are a flag and a name, so this is the value.
        if len(result) > 1 and result[-2] in FLAGS and result[-1].isidentifier():
            result[-1] += f"={arg}"
        else:
            result.append(arg)
    return result


def read(parameters: Sequence[str] | None) -> dict[str, str]:
    """Parse ``NAME=VALUE`` arguments.

    Raises
    ------
    CdmlLabError : an argument has another form
    """
    pairs = [parameter.partition("=") for parameter in parameters or ()]
    for name, equals, _ in pairs:
        if not equals or not name.isidentifier():
            raise CdmlLabError(f"a parameter is given as `-p NAME VALUE`, got {name!r}")
    return {name: value for name, _, value in pairs}
