"""`cdmllab reproduce`: reproduce a published row with one command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdmllab.errors import CdmlLabError

if TYPE_CHECKING:
    from cdmllab.data.fetching import Progress
    from cdmllab.reproduction.plan import Options, RowPlan
    from cdmllab.reproduction.rows import ReproducibleRow
    from cdmllab.reproduction.steps import RowWork


def reproduce(
    row: Annotated[
        str, typer.Argument(help="A row such as casia/r50_lite_cdml; without one, list all.")
    ] = "",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="datn_page|datn_code",
            show_default="the row's first",
            help="The source of the recipe.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 0,
    accept_terms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="Accept the terms of this data set; can be repeated. For use in scripts.",
        ),
    ] = None,
    on_cpu: Annotated[
        bool, typer.Option("--on-cpu", help="Train on the CPU even if it takes very long.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that train together, one per GPU.")
    ] = 1,
    probe_s: Annotated[
        float,
        typer.Option("--probe", min=1, help="Seconds of training that the estimate is based on."),
    ] = 30.0,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Print the requirements and the cost, then stop.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Write the outcome to results/reproductions.")
    ] = False,
) -> None:
    """Fetch, train, evaluate and compare one row of the published tables.

    If it is interrupted, the same command continues.
    """
    from cdmllab.reproduction import rows, steps
    from cdmllab.reproduction.compare import lines as table
    from cdmllab.reproduction.plan import Options

    if not row:
        _list()
        return
    chosen = rows.find(row, recipe)
    options = Options(seed, processes, on_cpu, probe_s)
    work = steps.RowWork(chosen, seed)
    # Show the cost and ask for consent before anything is fetched.
    row_plan, data = _plan(chosen, work, options)
    if plan_only:
        return
    _consent(chosen, work, data, accept_terms or [], row_plan, on_cpu)
    with _bar() as progress:
        done = steps.carry_out(work, row_plan, data, _say, options=options, progress=progress)
    _say("")
    for line in table(done.compared):
        _say(line)
    _say(done.verdict)
    took = ", ".join(
        f"{step} {seconds:.0f} s"
        + (f" (estimated {done.estimate[step]:.0f})" if step in done.estimate else "")
        for step, seconds in done.seconds.items()
    )
    _say(f"took {took}")
    if record:
        from cdmllab.reproduction import ledger

        _say(f"recorded in {ledger.write(done, row_plan)}")


def _list() -> None:
    from cdmllab.reproduction import rows
    from cdmllab.training import presets

    typer.echo(f"{'row':26} {'recipes':16} {'data':28} {'recorded':9} published, %")
    for name in rows.names():
        some = [row for row in rows.table() if row.name == name]
        first = some[0]
        published = ", ".join(
            f"{protocol} {value:.2f}" for protocol, value in first.published.items()
        )
        config = presets.load(first.preset)
        # Times are recorded for CASIA-WebFace only, whose pack has 490,623 images.
        took = rows.hours(first, 490_623, config.epochs)
        recorded = "" if took is None else f"{took:.1f} h"
        recipes = ", ".join(row.recipe for row in some)
        typer.echo(f"{name:26} {recipes:16} {', '.join(first.sets):28} {recorded:9} {published}")
    typer.echo(
        "`cdmllab reproduce ROW --plan` prints what a row needs and its time on this machine"
    )


def _plan(row: "ReproducibleRow", work: "RowWork", options: "Options") -> "tuple[RowPlan, Path]":
    from cdmllab.data import paths, registry
    from cdmllab.reproduction import plan

    data = paths.to_write()
    kept = work.measured
    # A measurement of an earlier call is used again.
    if kept is None:
        typer.echo(f"measuring {options.probe_s:g} s of this training on this machine ...")
    row_plan = plan.make(row, registry.load(), data, work.folder, options, kept)
    for line in plan.lines(row, row_plan):
        typer.echo(line)
    return row_plan, data


def _consent(
    row: "ReproducibleRow",
    work: "RowWork",
    data: Path,
    accepted: list[str],
    row_plan: "RowPlan",
    on_cpu: bool,
) -> None:
    """Ask for consent on a terminal; without one, raise unless consent was given by an option."""
    from cdmllab.data import registry
    from cdmllab.reproduction import steps
    from cdmllab.training import presets

    for name in accepted:
        registry.get(name)  # raises for a set that does not exist
    missing = [
        one
        for one in steps.missing_consent(row, work, registry.load(), data)
        if one.name not in accepted
    ]
    interactive = sys.stdin is not None and sys.stdin.isatty()
    if missing and not interactive:
        options = " ".join(f"--accept-terms {one.name}" for one in missing)
        raise CdmlLabError(
            f"nothing is fetched without your consent: read the licence and the history above, "
            f"then add {options}"
        )
    for one in missing:
        typer.confirm(
            f"{one.about.title}: do you accept these terms ({one.about.licence})?", abort=True
        )
    steps.accept(work, [*accepted, *(one.name for one in missing)])
    # The recipe is for a GPU, but it would be trained on the CPU.
    if row_plan.config.device == "cpu" and presets.load(row.preset).device == "cuda" and not on_cpu:
        warning = (
            f"this machine has no GPU, and on its CPU the training takes about "
            f"{row_plan.timed.train_s / 3600:,.0f} hours"
        )
        if not interactive:
            raise CdmlLabError(f"{warning}: --on-cpu starts it anyway")
        typer.confirm(f"{warning}. Start it anyway?", abort=True)


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _bar() -> "Iterator[Progress | None]":
    """A download bar on standard error; None if that is not a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None, visible=False)
        # The bar is hidden between downloads.
        yield lambda done, total: bars.update(
            task, completed=done, total=total, visible=done != total
        )
