"""The output of a training: a progress bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cdmllab.training.recorder import Progress, Report


def print_line(line: str) -> None:
    """Print a line and flush it."""
    print(line, flush=True)


@contextmanager
def reporting() -> Iterator[tuple[Report, Progress | None]]:
    """Give a function that prints a line and one that shows progress.

    The second is None without a terminal, where progress is printed as lines.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        yield print_line, None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="default", finished_style="default"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("", total=None)  # unknown before the first step
        yield (
            lambda line: console.print(line, markup=False, soft_wrap=True),
            lambda step, steps, line: bars.update(
                bar, completed=step, total=steps, description=line
            ),
        )
