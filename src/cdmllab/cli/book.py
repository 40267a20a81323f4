"""The commands of `cdmllab book`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from cdmllab.cli.name_value import FLAGS, WithParameters, read
from cdmllab.errors import CdmlLabError, require

app = typer.Typer(no_args_is_help=True)

Given = Annotated[
    list[str] | None,
    typer.Option(
        *FLAGS, metavar="NAME VALUE", help="Set a parameter of the chapters; can be repeated."
    ),
]
Profile = Annotated[
    str, typer.Option(metavar="cpu|gpu", help="The hardware that the chapters may use.")
]
Timeout = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="Time limit per cell; 0 for none.")
]


@app.callback()
def main() -> None:
    """Build the book: run its chapters, build its site."""
    require("book", "the book", "jupyter_book", "jupytext", "papermill")


@app.command(cls=WithParameters)
def build(
    profile: Profile = "cpu",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHAPTER", help="Run only this chapter; can be repeated."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also run and build what is up to date.")
    ] = False,
    parameter: Given = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Parallel chapters (default: one per core, at most four; one with a GPU).",
        ),
    ] = None,
    timeout: Timeout = 900,
    no_execute: Annotated[
        bool, typer.Option("--no-execute", help="Build the site from the existing outputs.")
    ] = False,
) -> None:
    """Run the chapters that changed, then build book/_build/html/index.html."""
    from cdmllab.book.build.layout import Layout
    from cdmllab.book.build.parallel import jobs_here
    from cdmllab.book.build.pipeline import build as build_book

    given = {"profile": profile, **read(parameter)}
    build_book(
        Layout.find(),
        given=given,
        only=only or (),
        force=force,
        execute=not no_execute,
        jobs=jobs or jobs_here(given["profile"]),
        timeout_s=timeout,
    )


@app.command(cls=WithParameters)
def run(
    chapter: str,
    profile: Profile = "cpu",
    parameter: Given = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write the notebook (default: out_CHAPTER.ipynb).")
    ] = None,
    timeout: Timeout = 900,
) -> None:
    """Run one chapter with other parameters into a separate notebook; the book does not change.

    The notebook's metadata record its provenance, so that it can be kept in results/.
    """
    from cdmllab.book.build import chapters
    from cdmllab.book.build.layout import Layout
    from cdmllab.book.build.progress import Progress

    start = perf_counter()
    layout = Layout.find()
    name = layout.chapter(chapter)
    step = chapters.plan(layout, name, {"profile": profile, **read(parameter)})
    target = (output or Path(f"out_{name}.ipynb")).absolute()
    chapters.run(
        step,
        layout,
        target,
        [f"to {layout.show(target)}"],
        timeout_s=timeout,
        progress=Progress(),
        extra=lambda: {"provenance": _provenance(chapter, step.given, perf_counter() - start)},
    )


def _provenance(chapter: str, given: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The provenance of a chapter's outputs; `given` holds the parameters set by the user."""
    import torch

    from cdmllab.runs import provenance

    gpu = torch.cuda.is_available() and given.get("profile") == "gpu"
    return {
        "command": " ".join(
            ["cdmllab book run", chapter, *(f"-p {key} {value}" for key, value in given.items())]
        ),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "wall_s": round(seconds, 1),
        **({"gpu": torch.cuda.get_device_name()} if gpu else {}),
        **provenance(),
    }


@app.command()
def sync(
    check: Annotated[
        bool,
        typer.Option("--check", help="Only report differences; exit with 1 if there are any."),
    ] = False,
    take_edits: Annotated[
        bool,
        typer.Option("--take-edits", help="First copy edits made in notebooks into the chapters."),
    ] = False,
) -> None:
    """Write notebooks/ from book/chapters/."""
    from cdmllab.book.build import sync as steps
    from cdmllab.book.build.layout import Layout
    from cdmllab.book.build.pipeline import report
    from cdmllab.book.build.progress import Progress

    layout = Layout.find()
    if check:
        checked = steps.check(layout)
        for problem in checked.problems:
            typer.echo(problem.sentence, err=True)
        typer.echo(
            f"{checked.chapters} chapters, {checked.notebooks} notebooks, "
            f"{len(checked.problems)} out of step"
        )
        raise typer.Exit(1 if checked.problems else 0)
    changes = steps.sync(layout, take_edits=take_edits)
    report(changes, Progress())
    written, removed, unchanged = map(len, (changes.written, changes.removed, changes.unchanged))
    typer.echo(f"{written} notebooks written, {removed} removed, {unchanged} in step")


@app.command(cls=WithParameters)
def status(profile: Profile = "cpu", parameter: Given = None) -> None:
    """List the chapters that `build` would run, and why."""
    from cdmllab.book.build import chapters, site
    from cdmllab.book.build.layout import Layout

    layout, given = Layout.find(), {"profile": profile, **read(parameter)}
    for name in layout.chapters():
        try:
            reasons = chapters.plan(layout, name, given).reasons
        except CdmlLabError as error:
            reasons = [str(error)]
        typer.echo(f"{name}: {'; '.join(reasons) or 'up to date'}")
    typer.echo(f"site: {'; '.join(site.reasons(layout)) or 'up to date'}")
