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
    help="Skip files and folders with this name or path, such as `raw_*`; can be repeated. Hidden "
    "files and system files (`@eaDir`, `Thumbs.db`) are always skipped.",
)


def pack(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A folder with one folder of images per person.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="The pack's folder; an existing pack is replaced.")
    ],
    size: Annotated[
        int, typer.Option(min=8, metavar="PIXELS", help="Height and width of the images.")
    ] = 112,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="JPEG quality of re-encoded images.")
    ] = 95,
    min_images: Annotated[int, typer.Option(min=1, help="Skip people with fewer images.")] = 1,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Align by these lines: `Name/file.jpg x1 y1 ... x5 y5`; quote names with spaces.",
        ),
    ] = None,
    reencode: Annotated[
        bool,
        typer.Option("--reencode", help="Also re-encode JPEGs that already have the right size."),
    ] = False,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads (default: one per core).")
    ] = None,
) -> None:
    """Make an InsightFace pack (train.rec, train.idx, property) from a folder of identities.

    If it is interrupted, the same command continues.
    """
    from cdmllab.data import packing

    settings = packing.Settings(
        size, quality, min_images, landmarks, not reencode, tuple(ignore or ())
    )
    threads = packing.default_workers() if workers is None else workers
    with _bar("packing") as progress:
        report = packing.pack(source, target, settings, workers=threads, progress=progress)
    resumed = f", {report.resumed:,} of them done before" if report.resumed else ""
    name = printable(str(target))
    typer.echo(f"{name}: {report.images:,} images of {report.identities:,} identities{resumed}")
    # Only the first ten: the report file has all of them.
    for image, why in list(report.skipped.items())[:10]:
        typer.echo(f"skipped {image}: {why}", err=True)
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
        typer.Argument(
            metavar="FILE", help="A pack, a bin, a protocol (.npz) or a folder of identities."
        ),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode the images.")] = False,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="Write the complete report to this file."),
    ] = None,
) -> None:
    """Describe a data file and check all of it; exit with 1 if anything is wrong."""
    from cdmllab.data.inspection import inspect as look
    from cdmllab.data.inspection import write_report

    with _bar("checking") as progress:
        inspected = look(path, quick=quick, ignore=ignore or (), progress=progress)
    if report is not None:
        write_report(report, inspected)
    typer.echo(f"{printable(str(path))}: {inspected.kind}")
    for key, value in inspected.facts.items():
        typer.echo(f"  {key}: {value}")
    for problem in inspected.problems:
        typer.echo(f"wrong: {problem}", err=True)
    if inspected.problems:
        raise typer.Exit(1)
    typer.echo("  all well" + (", images not decoded" if quick else ""))


def convert(
    source: Annotated[Path, typer.Argument(metavar="BIN", help="A verification bin.")],
    target: Annotated[Path, typer.Argument(metavar="NPZ", help="The file to write.")],
) -> None:
    """Convert a verification bin, which is a pickle, to an .npz that is safe to read."""
    from cdmllab.data import bins

    if target.suffix != ".npz":
        raise CdmlLabError(f"the output file must end in .npz, got {target}")
    pairs = bins.read(source)
    bins.write_npz(target, pairs)
    typer.echo(f"{target}: {len(pairs.images):,} images, {len(pairs.same):,} pairs")


@contextmanager
def _bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; nothing if that is not a terminal."""
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
        task = bar.add_task(description, total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step


def overlap(
    trained: Annotated[
        Path, typer.Argument(metavar="PACK", help="A training set: a pack, shards, a folder, ...")
    ],
    protocol: Annotated[str, typer.Argument(help="One that `cdmllab evaluate` lists, or a bin.")],
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="A run or released file: confirms duplicates and is evaluated."
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The training set's people, one per line (default: the pack's)."
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Bits in which the hashes of duplicates may differ."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Write the complete result to this file.")
    ] = None,
) -> None:
    """Find a protocol's people and near-duplicate images in a training set.

    With a network, also report its accuracy without them.
    """
    import json

    from cdmllab._util.files import read_text, write_text
    from cdmllab.cli.evaluate import network_of
    from cdmllab.data.opening import open_set
    from cdmllab.data.packwriter import NAMES
    from cdmllab.evaluate import overlap as overlaps
    from cdmllab.evaluate import protocols

    source = open_set(trained)
    # By default the names that a pack stores next to its records.
    listed = names or (trained if trained.is_dir() else trained.parent) / NAMES
    people = read_text(listed, "a list of names").splitlines() if names or listed.is_file() else []
    name, *more = protocols.matching([protocol])
    if more:
        raise CdmlLabError(
            f"{protocol} matches {1 + len(more)} protocols: name one of them, such as {name}"
        )
    backbone, prepare = (None, None) if network is None else network_of(network, "cpu", 1)
    # Without a network the protocol is loaded at its own size.
    judged = protocols.load(name, getattr(backbone, "size", None))
    with _bar("comparing") as progress:
        shared = overlaps.find(
            source,
            judged,
            names=people,
            backbone=backbone,
            prepare=prepare,
            bits=bits,
            progress=progress,
        )
    if report is not None:
        write_text(report, json.dumps(shared.record(), indent=1) + "\n")
    typer.echo(
        f"{printable(str(trained))}: {len(source):,} images; {name}: {len(judged.images):,} images"
    )
    if people and judged.names:
        some = f", including {', '.join(shared.people[:5])}" if shared.people else ""
        typer.echo(f"  shared people: {len(shared.people):,}{some}")
    else:
        typer.echo("  shared people: unknown, one of the two has no names")
    method = "confirmed by embeddings" if network else "by perceptual hash alone"
    typer.echo(
        f"  near-duplicates: {len(set(shared.judged.tolist())):,} images of the protocol, {method}"
    )
    if shared.accuracy and "all" in shared.accuracy:
        a = shared.accuracy
        typer.echo(f"  accuracy: {100 * a['all']:.2f} % on all {a['pairs']:,.0f} pairs")
        if "without" in a:
            typer.echo(
                f"  accuracy: {100 * a['without']:.2f} % on the {a['pairs_without']:,.0f} pairs "
                f"without them"
            )
