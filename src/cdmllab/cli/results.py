"""`cdmllab results`: the ledger of measured numbers."""

import typer

from cdmllab.errors import CdmlLabError

app = typer.Typer(no_args_is_help=True, help="The measured numbers that the book prints.")


@app.command()
def check() -> None:
    """Fail if a record lacks its provenance, a run is missing, dirty or of another config, or a
    citation is void.
    """
    from cdmllab.results import audit

    seen, faults = audit.check()
    for kind, names in seen.items():
        typer.echo(f"{len(names):3} {kind}: {', '.join(names)}")
    if faults:
        for fault in faults:
            typer.echo(f"  {fault}", err=True)
        raise CdmlLabError(f"{len(faults)} faults in the results, the first: {faults[0]}")
    typer.echo("in order")
