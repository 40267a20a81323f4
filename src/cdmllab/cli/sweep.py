"""`cdmllab sweep`: many trainings from one file."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cdmllab.errors import CdmlLabError


def sweep(
    spec: Annotated[
        Path, typer.Argument(help="The sweep's YAML file, such as results/sweeps/lab_main.yaml.")
    ],
    workers: Annotated[int, typer.Option(min=1, help="Parallel trainings on this machine.")] = 1,
    ray: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Run on the Ray cluster at this address, or 'local'."),
    ] = "",
    status: Annotated[
        bool, typer.Option("--status", help="Show the state of each training and exit.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="When finished, write a .json record next to the YAML file."),
    ] = False,
) -> None:
    """Train, evaluate and export everything that a YAML file lists.

    Finished trainings are skipped, and interrupted ones continue from their last checkpoint.
    """
    from cdmllab import sweeps
    from cdmllab.cli import console
    from cdmllab.sweeps import engines
    from cdmllab.sweeps import record as records
    from cdmllab.sweeps.sweep import line

    work = sweeps.Sweep(sweeps.load(spec))
    if status:
        for row in work.rows():
            typer.echo(line(row))
        counts = Counter(row.state for row in work.rows())
        typer.echo(
            ", ".join(f"{n} {state}" for state, n in counts.items()) or "nothing has started yet"
        )
        return
    if ray and workers > 1:
        raise CdmlLabError(
            "--workers is for this machine and --ray is for a cluster: give only one of them"
        )
    with engines.ray(ray) if ray else engines.local(workers) as engine:
        done = work.run(engine, console.print_line)
    for name, stage in done.items():
        for text in sweeps.summary(work.spec, name, stage):
            typer.echo(text)
    if record:
        path = spec.with_suffix(".json")
        records.write(records.build(work.spec, done), path)
        typer.echo(f"written to {path}")
