"""The command line: `cdmllab --help`. One module for each group of commands."""

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cdmllab import __version__
from cdmllab._util import failures, processes
from cdmllab._util.processes import print_anything
from cdmllab.cli import (
    bench,
    book,
    data,
    evaluate,
    export,
    photos,
    reproduce,
    results,
    sweep,
    train,
)

# torch asks the system for huge pages, if told so before it first allocates: steps on a CPU take a
# fifth less time or better, and the numbers are the same. Processes that a command starts inherit
# it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


# What typer itself raises on its way out.
_TYPERS: tuple[type[BaseException], ...] = (
    *(
        typer.Exit,
        typer.Abort,
        typer.BadParameter.__mro__[2],
    ),  # the last is ClickException, whoever brings it
    *(SystemExit, GeneratorExit),
)


class _Sentences(TyperGroup):
    """A group of commands that reports any failure in one sentence, and that it was stopped."""

    def invoke(self, ctx: Any) -> Any:
        print_anything()
        try:
            with processes.stoppable():
                done = super().invoke(ctx)
                if sys.stdout is not None:
                    sys.stdout.flush()
                return done
        except _TYPERS:
            raise
        except KeyboardInterrupt as error:
            typer.echo("\ncdmllab: stopped; what was done before stays", err=True)
            raise typer.Exit(processes.exit_code(error)) from None
        except BaseException as error:  # Rust's panics are no Exception
            if isinstance(error, BrokenPipeError) and processes.nobody_reads():
                processes.print_nowhere()
                raise typer.Exit(128 + signal.SIGPIPE) from None
            typer.echo(f"cdmllab: {failures.sentence(error)}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Sentences, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
app.add_typer(book.app, name="book")
app.command()(data.pack)
app.command()(data.inspect)
app.command()(data.overlap)
app.command("unpickle")(data.convert)
app.command()(train.train)
app.command()(train.presets)
app.command()(sweep.sweep)
app.command()(evaluate.evaluate)
app.command()(photos.photos)
app.command()(photos.compare)
app.command()(photos.protocol)
app.command()(reproduce.reproduce)
app.add_typer(results.app, name="results")
app.add_typer(export.weights, name="weights")
app.command()(export.export)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    bench.bench
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """CDML Lab: margin losses for face recognition, as a book and a package."""
