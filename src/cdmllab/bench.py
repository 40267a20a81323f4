"""`cdmllab bench`: run the measurements of ``benchmarks/``, which stand beside the package in its repository."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cdmllab.errors import CdmlLabError


def folder() -> Path:
    """The repository's ``benchmarks`` folder.

    Raises
    ------
    CdmlLabError : the package was installed without its repository
    """
    found = Path(__file__).resolve().parents[2] / "benchmarks"
    if not found.is_dir():
        raise CdmlLabError("the benchmarks are part of the repository, and this package was installed without it")
    return found


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in folder().glob("*.py") if path.stem not in ("common", "peers"))


def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; without a name they are listed.")] = "",
) -> None:
    """Measure speed and memory beside peers and the physical limit; further options go to the benchmark."""
    if not name:
        typer.echo("\n".join(names()))
        return
    if name not in names():
        raise CdmlLabError(f"there is no benchmark {name!r}; there are: {', '.join(names())}")
    done = subprocess.run([sys.executable, str(folder() / f"{name}.py"), *context.args], check=False)
    raise typer.Exit(done.returncode)
