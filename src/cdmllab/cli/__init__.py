"""The command line: `cdmllab --help`. One module per group of commands."""

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

# PyTorch reads this before its first allocation and then asks the system for huge pages: training
# steps on a CPU take at least a fifth less time, with the same numbers. Child processes inherit it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


# Typer's own exceptions, which its main loop turns into an exit code.
_TYPERS: tuple[type[BaseException], ...] = (
    typer.Exit,
    typer.Abort,
    # ClickException, taken from here because Typer may bundle its own copy of click.
    typer.BadParameter.__mro__[2],
    SystemExit,
    GeneratorExit,
)


class _Sentences(TyperGroup):
    """A group of commands that reports a failure or an interrupt in one sentence."""

    def invoke(self, ctx: Any) -> Any:
        print_anything()
        try:
            with processes.stoppable():
                done = super().invoke(ctx)
                # Flushed here, so that a closed pipe is reported below, and not when Python exits.
                if sys.stdout is not None:
                    sys.stdout.flush()
                return done
        except _TYPERS:
            raise
        except KeyboardInterrupt as error:
            typer.echo("\ncdmllab: stopped; finished work is kept", err=True)
            raise typer.Exit(processes.exit_code(error)) from None
        except BaseException as error:  # a panic in a Rust extension is not an Exception
            # End as a process that SIGPIPE ends: nobody would read a message.
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
app.command()(train.losses)
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


def _show_version(requested: bool) -> None:
    if requested:
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
