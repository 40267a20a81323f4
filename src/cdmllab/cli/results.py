"""`cdmllab results`: the records of measured numbers."""

import typer

from cdmllab.errors import CdmlLabError

app = typer.Typer(no_args_is_help=True, help="The measured numbers that the book prints.")


@app.command()
def check() -> None:
    """Check the provenance, the runs and the citations of all records.

    Exits with 1 if a record has no provenance, if a run is missing, was made with uncommitted
    changes or has another config, or if the book cites a record that does not exist.
    """
    from cdmllab.results import audit

    seen, faults = audit.check()
    for kind, names in seen.items():
        typer.echo(f"{len(names):3} {kind}: {', '.join(names)}")
    if faults:
        for fault in faults:
            typer.echo(f"  {fault}", err=True)
        raise CdmlLabError(f"{len(faults)} faults in the results; the first: {faults[0]}")
    typer.echo("no faults")
