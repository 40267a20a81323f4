"""`cdmllab pack` and `cdmllab inspect`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cdmllab._util.files import printable
from cdmllab.data.walk import summary
from cdmllab.errors import CdmlLabError

_IGNORE = typer.Option(
    metavar="PATTERN",
    help="Leave out files and folders of this name or path, `raw_*` say; may be repeated. Hidden "
    "ones and what "
    "systems leave lying about (`@eaDir`, `Thumbs.db`) are always left out.",
)


def pack(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A folder with one folder of images a person.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="The pack's folder; an older pack is replaced.")
    ],
    size: Annotated[
        int, typer.Option(min=8, metavar="PIXELS", help="Height and width of the images.")
    ] = 112,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of JPEGs that are encoded anew.")
    ] = 95,
    min_images: Annotated[int, typer.Option(min=1, help="Leave out people with fewer.")] = 1,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Align: lines `Name/file.jpg x1 y1 ... x5 y5`, names with spaces in quotes.",
        ),
    ] = None,
    reencode: Annotated[
        bool, typer.Option("--reencode", help="Encode also JPEGs that have the right size already.")
    ] = False,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads (default: one a core).")
    ] = None,
) -> None:
    """Make an InsightFace pack (train.rec, train.idx, property) from a folder of identities; goes
    on if stopped.
    """
    from cdmllab.data import packing

    settings = packing.Settings(
        size, quality, min_images, landmarks, not reencode, tuple(ignore or ())
    )
    threads = packing.default_workers() if workers is None else workers
    with _bar("packing") as progress:
        report = packing.pack(source, target, settings, workers=threads, progress=progress)
    resumed = f", {report.resumed:,} of them done before" if report.resumed else ""
    shown = printable(str(target))
    typer.echo(f"{shown}: {report.images:,} images of {report.identities:,} identities{resumed}")
    for name, why in list(report.skipped.items())[:10]:
        typer.echo(f"skipped {name}: {why}", err=True)
    for line in summary(report.left_out):
        typer.echo(f"left out {line}", err=True)
    if report.skipped or report.left_out:
        counts = (
            f"{len(report.skipped):,} images skipped, {len(report.left_out):,} files and "
            f"folders left out"
        )
        typer.echo(f"{counts}, see {printable(str(target / packing.REPORT))}", err=True)


def inspect(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A pack, a bin, a protocol (.npz) or a folder."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode the images.")] = False,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="Write everything found to this file, uncut."),
    ] = None,
) -> None:
    """Say what a data file holds and check all of it; exits with 1 if anything is wrong."""
    from cdmllab.data.inspection import inspect as look
    from cdmllab.data.inspection import write_report

    with _bar("checking") as progress:
        found = look(path, quick=quick, ignore=ignore or (), progress=progress)
    if report is not None:
        write_report(report, found)
    typer.echo(f"{printable(str(path))}: {found.kind}")
    for key, value in found.facts.items():
        typer.echo(f"  {key}: {value}")
    for problem in found.problems:
        typer.echo(f"wrong: {problem}", err=True)
    if found.problems:
        raise typer.Exit(1)
    typer.echo("  all well" + (", images not decoded" if quick else ""))


def convert(
    source: Annotated[Path, typer.Argument(metavar="BIN", help="A verification bin.")],
    target: Annotated[Path, typer.Argument(metavar="NPZ", help="The file to write.")],
) -> None:
    """Turn a verification bin, a pickle, into a plain .npz that is read without unpickling."""
    from cdmllab.data import bins

    if target.suffix != ".npz":
        raise CdmlLabError(f"the file to write must end in .npz, {target} does not")
    found = bins.read(source)
    bins.write_npz(target, found)
    typer.echo(f"{target}: {len(found.images):,} images, {len(found.same):,} pairs")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the terminal's error stream; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step


def overlap(
    trained: Annotated[
        Path, typer.Argument(metavar="PACK", help="A training set: a pack, shards, a folder, ...")
    ],
    protocol: Annotated[str, typer.Argument(help="As `cdmllab evaluate` lists them, or a bin.")],
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="A run or released file that confirms duplicates, and is judged."
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The training set's people, one a line (default: the pack's own)."
        ),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(min=0, max=256, help="In which hashes of duplicates may differ.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Write everything found to this file.")
    ] = None,
) -> None:
    """Find people and near-duplicate images of a protocol in a training set, and the accuracy
    without them.
    """
    import json

    from cdmllab._util.files import read_text, write_text
    from cdmllab.cli.evaluate import network_of
    from cdmllab.data.opening import open_set
    from cdmllab.data.packwriter import NAMES
    from cdmllab.evaluate import overlap as overlaps
    from cdmllab.evaluate import protocols

    source = open_set(trained)
    listed = names or (trained if trained.is_dir() else trained.parent) / NAMES
    people = read_text(listed, "a list of names").splitlines() if names or listed.is_file() else []
    name, *more = protocols.matching([protocol])
    if more:
        raise CdmlLabError(
            f"{protocol} stands for {1 + len(more)} protocols: name one of them, as {name}"
        )
    backbone, prepare = (None, None) if network is None else network_of(network, "cpu", 1)
    judged = protocols.load(name, getattr(backbone, "size", None))
    with _bar("comparing") as progress:
        found = overlaps.find(
            source,
            judged,
            names=people,
            backbone=backbone,
            prepare=prepare,
            bits=bits,
            progress=progress,
        )
    if report is not None:
        write_text(report, json.dumps(found.record(), indent=1) + "\n")
    typer.echo(
        f"{printable(str(trained))}: {len(source):,} images; {name}: {len(judged.images):,} images"
    )
    if people and judged.names:
        shown = f", among them {', '.join(found.people[:5])}" if found.people else ""
        typer.echo(f"  shared people: {len(found.people):,}{shown}")
    else:
        typer.echo("  shared people: not known, one of the two has no names")
    how = "confirmed by embeddings" if network else "by perceptual hash alone"
    typer.echo(
        f"  near-duplicates: {len(set(found.judged.tolist())):,} images of the protocol, {how}"
    )
    if found.accuracy and "all" in found.accuracy:
        a = found.accuracy
        typer.echo(f"  accuracy: {100 * a['all']:.2f} % on all {a['pairs']:,.0f} pairs")
        if "without" in a:
            typer.echo(
                f"  accuracy: {100 * a['without']:.2f} % on the {a['pairs_without']:,.0f} pairs "
                f"without them"
            )
