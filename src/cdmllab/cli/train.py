"""`cdmllab train` and `cdmllab presets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cdmllab.errors import CdmlLabError


def train(
    preset: Annotated[
        str, typer.Argument(help="A preset's name (see `cdmllab presets`) or a YAML file.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting, for example loss.margin_rad=0.45."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue an interrupted run.")
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Train again even if a finished run exists.")
    ] = False,
) -> None:
    """Train a preset into a new folder of runs/ ($CDMLLAB_RUNS).

    A finished run is not repeated unless its data has changed since. An interrupted run continues
    only with the data and the config it was started with.
    """
    from cdmllab import training
    from cdmllab.cli import console
    from cdmllab.training import presets

    if (resume is None) == (preset == ""):
        raise CdmlLabError(
            "name a preset (`cdmllab presets` lists them) or continue a run with --resume"
        )
    if resume is not None and (settings or seed is not None or redo):
        raise CdmlLabError(
            "a run continues with its own config: --set, --seed and --redo are for a new run"
        )
    try:
        with console.reporting() as (report, progress):
            if resume is not None:
                done = training.resume(resume, report, progress)
            else:
                # --seed is a setting like the others; it comes last and wins.
                chosen = [*(settings or []), *([] if seed is None else [f"seed={seed}"])]
                done = training.train(
                    presets.load(preset, chosen), redo=redo, report=report, progress=progress
                )
    # A DataError is a ValueError as well, and needs no other message.
    except CdmlLabError:
        raise
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    typer.echo(f"finished: {done.run.folder}")


def presets() -> None:
    """List the presets, with their data, loss and backbone, and which data sets are missing."""
    from cdmllab.training import datasets
    from cdmllab.training import presets as all_presets

    rows = [("preset", "data", "loss", "backbone", "data is", "validation")]
    for name in all_presets.names():
        config = all_presets.load(name)
        missing = datasets.missing(config.data.name, config.data.options)
        # The name of the data's folder, without the size that many packs have in theirs.
        set_ = Path(config.data.options.get("folder", config.data.name)).name.removesuffix("_112")
        absent = ", ".join(config.watch.missing())
        rows.append(
            (
                name,
                set_,
                config.loss.name,
                config.backbone.name,
                "missing" if missing else "there",
                f"missing: {absent}" if absent else "",
            )
        )
    _print_table(rows)


def losses() -> None:
    """List the losses for `--set loss.name=...`: what moves the margin, and for which samples.

    Losses of other packages, registered under the entry points cdmllab.margins, are included.
    """
    from cdmllab import margins

    _print_table(
        [
            ("loss", "year", "moved by", "larger margin"),
            *(
                (
                    name,
                    str(margins.year(name)),
                    ", ".join(margins.moved_by(name)) or "-",
                    margins.direction(name) or "-",
                )
                for name in margins.names()
            ),
        ]
    )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns that are as wide as their widest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
