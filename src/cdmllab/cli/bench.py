"""`cdmllab bench`: run the scripts of ``benchmarks/``, a folder of the package's repository."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, NamedTuple

import typer

from cdmllab.errors import CdmlLabError


class Short(NamedTuple):
    """The options of a benchmark in ``cdmllab bench all``: every case, but fewer rounds."""

    options: tuple[str, ...]
    gib: float  # memory the machine must have


# In the order in which they run; together they take less than half an hour on two cores.
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
    path = Path(__file__).resolve().parents[3] / "benchmarks"  # from src/cdmllab/cli
    if not path.is_dir():
        raise CdmlLabError(
            "the benchmarks are part of the repository, but this package was installed without it"
        )
    return path


def names() -> list[str]:
    """The names of all benchmarks."""
    # Two of the files are helpers of the others.
    return sorted(
        path.stem for path in folder().glob("*.py") if path.stem not in ("common", "peers")
    )


def bench(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="A benchmark, or 'all' that fit this machine; without a name, list them."
        ),
    ] = "",
    redo: Annotated[
        bool,
        typer.Option("--redo", help="With 'all': repeat what was already measured at this commit."),
    ] = False,
) -> None:
    """Measure speed and memory, compared with other libraries and the hardware's limit.

    Further options are passed on to the benchmark.
    """
    if not name:
        typer.echo("\n".join(names()))
    elif name == "all":
        if context.args:
            raise CdmlLabError(f"'all' takes no option but --redo, got {context.args[0]}")
        _all(redo)
    elif name in names():
        raise typer.Exit(_run(name, context.args))
    else:
        raise CdmlLabError(f"no benchmark {name!r}; choose one of {', '.join(names())}, or all")


def _all(redo: bool) -> None:
    """Run the benchmarks that were not yet measured here; report failures at the end."""
    failed = []
    for name, short in SHORT.items():
        if memory_gib() < short.gib:
            typer.echo(
                f"{name}: skipped, it needs {short.gib:g} GiB of memory and this machine has "
                f"{memory_gib():.1f}"
            )
        elif not redo and measured_here(name):
            typer.echo(f"{name}: skipped, already measured at this commit on this machine")
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
    """Whether a record exists of this very commit and this kind of processor."""
    from cdmllab import results, runs

    now = runs.provenance()
    records = (results.benchmark(name, "cpu"), results.benchmark(name, "cuda"))
    keys = ("git_commit", "processor")
    recorded = any(
        r is not None and not r["git_dirty"] and all(r.get(k) == now[k] for k in keys)
        for r in records
    )
    # With uncommitted changes the commit does not identify the code.
    return recorded and now["citable"]


def memory_gib() -> float:
    """The machine's memory in GiB; infinite where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _run(name: str, options: tuple[str, ...] | list[str]) -> int:
    return subprocess.run(
        [sys.executable, str(folder() / f"{name}.py"), *options], check=False
    ).returncode
