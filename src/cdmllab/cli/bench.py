"""`cdmllab bench`: run the measurements of ``benchmarks/``, which stand beside the package in its
repository.
"""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, NamedTuple

import typer

from cdmllab.errors import CdmlLabError


class Short(NamedTuple):
    """How a benchmark takes part in ``cdmllab bench all``: fewer rounds than by default, but
    nothing left out.
    """

    options: tuple[str, ...]
    gib: float  # of memory that the machine has to have


# In the order in which they run; together less than half an hour on two cores.
SHORT: dict[str, Short] = {
    "heads": Short(("--rounds", "2"), 6.0),
    "heads_sharded": Short(("--rounds", "3"), 4.0),
    "data": Short(("--rounds", "2"), 2.0),
    "faces": Short(("--rounds", "1"), 2.0),
    "evaluation": Short(("--rounds", "1"), 5.0),
    "training": Short(("--rounds", "1"), 10.0),
    "backbones": Short(("--rounds", "3", "--batches", "1"), 4.0),
}


def folder() -> Path:
    """The repository's ``benchmarks`` folder.

    Raises
    ------
    CdmlLabError : the package was installed without its repository
    """
    found = Path(__file__).resolve().parents[3] / "benchmarks"
    if not found.is_dir():
        raise CdmlLabError(
            "the benchmarks are part of the repository, and this package was installed without it"
        )
    return found


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(
        path.stem for path in folder().glob("*.py") if path.stem not in ("common", "peers")
    )


def bench(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Which one, or 'all' that fit this machine; without a name they are listed."
        ),
    ] = "",
    redo: Annotated[
        bool,
        typer.Option("--redo", help="With 'all': measure again what this commit has measured."),
    ] = False,
) -> None:
    """Measure speed and memory beside peers and the physical limit; further options go to the
    benchmark.
    """
    if not name:
        typer.echo("\n".join(names()))
    elif name == "all":
        if context.args:
            raise CdmlLabError(f"'all' takes --redo and nothing else, not {context.args[0]}")
        _all(redo)
    elif name in names():
        raise typer.Exit(_run(name, context.args))
    else:
        raise CdmlLabError(
            f"there is no benchmark {name!r}; there are: {', '.join(names())}, or all"
        )


def _all(redo: bool) -> None:
    """One after the other; what this commit measured on this machine is passed over, failures are
    told at the end.
    """
    failed = []
    for name, short in SHORT.items():
        if memory_gib() < short.gib:
            typer.echo(
                f"{name}: left out, it needs {short.gib:g} GiB of memory and there are "
                f"{memory_gib():.1f}"
            )
        elif not redo and measured_here(name):
            typer.echo(f"{name}: measured at this commit on this machine")
        else:
            typer.echo(f"{name}: {' '.join(short.options)}")
            start = perf_counter()
            code = _run(name, short.options)
            typer.echo(
                f"{name}: {'failed' if code else 'done'} after {perf_counter() - start:.0f} s"
            )
            failed += [name] if code else []
    if failed:
        raise CdmlLabError(f"{len(failed)} of {len(SHORT)} benchmarks failed: {', '.join(failed)}")


def measured_here(name: str) -> bool:
    """Whether there is a record of this commit, without changes, from a machine with this
    processor.
    """
    from cdmllab import results, runs

    now = runs.provenance()
    records = (results.benchmark(name, "cpu"), results.benchmark(name, "cuda"))
    keys = ("git_commit", "processor")
    found = any(
        r is not None and not r["git_dirty"] and all(r.get(k) == now[k] for k in keys)
        for r in records
    )
    return found and now["citable"]


def memory_gib() -> float:
    """Of the machine; infinite where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _run(name: str, options: tuple[str, ...] | list[str]) -> int:
    return subprocess.run(
        [sys.executable, str(folder() / f"{name}.py"), *options], check=False
    ).returncode
