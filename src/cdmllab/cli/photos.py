"""`cdmllab photos`, `compare` and `protocol`: the user's photos, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdmllab._util.files import printable
from cdmllab.errors import CdmlLabError

if TYPE_CHECKING:
    from cdmllab.evaluate.evaluation import Evaluation
    from cdmllab.photos.album import Network
    from cdmllab.photos.faces import Detector

DetectorName = Literal["mtcnn", "yunet", "scrfd"]
_MODEL = typer.Option(
    metavar="FILE",
    help="A run's folder, a released file, or an ONNX file of a face recognition network.",
)
_CALIBRATION = typer.Option(
    metavar="JSON",
    help="An evaluation of this network by `cdmllab evaluate` (default: the one next to it).",
)
_FAR = typer.Option(help="The share of pairs of strangers that may be accepted.")
_FLIP = typer.Option(
    "--flip/--no-flip",
    show_default="as the evaluation",
    help="Add the mirrored images' embeddings.",
)
_DETECTOR = typer.Option(help="The face detector; MTCNN comes with cdmllab[photos].")
_DETECTOR_MODEL = typer.Option(metavar="FILE", help="The network of YuNet or SCRFD.")
_LEAST_EYES = typer.Option(min=1.0, help="Minimum distance between the eyes, in pixels.")
_IGNORE = typer.Option(metavar="PATTERN", help="Skip files and folders of this name.")
_THREADS = typer.Option(min=1, help="CPU threads of the networks.")


def photos(
    folder: Annotated[
        Path, typer.Argument(help="The photos, with one folder per person if known.")
    ],
    model: Annotated[Path, _MODEL],
    report: Annotated[
        Path, typer.Option(metavar="HTML", help="The file to write; nothing else is stored.")
    ] = Path("photos.html"),
    far: Annotated[float, _FAR] = 1e-3,
    calibration: Annotated[Path | None, _CALIBRATION] = None,
    by_likeness: Annotated[
        bool,
        typer.Option("--by-likeness", help="Folders are not people: group similar faces."),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1.0, max=1.0, show_default="the evaluation's", help="The cosine to group at."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=2, help="Draw people with at most this many photos.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also store the aligned faces and embeddings here."),
    ] = None,
    detector: Annotated[DetectorName, _DETECTOR] = "mtcnn",
    detector_model: Annotated[Path | None, _DETECTOR_MODEL] = None,
    least_eyes: Annotated[float, _LEAST_EYES] = 10.0,
    flip: Annotated[bool | None, _FLIP] = None,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the sample, the bootstrap and the halves.")
    ] = 0,
    threads: Annotated[int, _THREADS] = 1,
) -> None:
    """Find the faces of photos, compare all of them, and write a report that opens offline."""
    from cdmllab._util.files import write_text
    from cdmllab.cli.data import _bar
    from cdmllab.photos import album, keeping, listing
    from cdmllab.photos.detectors import create
    from cdmllab.photos.page import page
    from cdmllab.photos.report import findings

    # Choose the photos, and refuse what cannot work before any face is searched.
    source = listing.photos_in(folder, people=not by_likeness, ignore=ignore or ())
    if threshold is not None and source.people:
        raise CdmlLabError("--threshold is for grouping by likeness: add --by-likeness")
    if sample is not None:
        source = listing.sampled(source, sample, seed)
    listing.refuse_too_many(source)
    store = keeping.store(keep, source)
    network, evaluation = network_and_evaluation(model, calibration, flip, threads)
    finder = create(detector, detector_model)
    # The slow part: find, align and embed every face.
    with _bar("comparing photos") as progress:
        read = album.read(
            source,
            network,
            finder,
            least_eyes_px=least_eyes,
            progress=progress,
            keep=None if store is None else store.face,
        )
    if store is not None:
        store.embeddings(read)
    results = findings(read, far, evaluation=evaluation, cut=threshold, seed=seed)
    write_text(report, page(results, network, finder.name))
    groups = "people" if source.people else "groups by likeness"
    typer.echo(
        f"{printable(str(folder))}: {len(read.items):,} faces of {len(source.photos):,} photos, "
        f"{len(set(results.group.tolist())):,} {groups}"
    )
    _report_missing("not compared", read.missing, ", see the report")
    typer.echo(f"written to {report}")
    if keep is not None:
        typer.echo(f"stored in {keep}")


def compare(
    first: Annotated[Path, typer.Argument(help="A photo.")],
    second: Annotated[Path, typer.Argument(help="Another photo.")],
    model: Annotated[Path, _MODEL],
    far: Annotated[float, _FAR] = 1e-3,
    calibration: Annotated[Path | None, _CALIBRATION] = None,
    detector: Annotated[DetectorName, _DETECTOR] = "mtcnn",
    detector_model: Annotated[Path | None, _DETECTOR_MODEL] = None,
    least_eyes: Annotated[float, _LEAST_EYES] = 10.0,
    flip: Annotated[bool | None, _FLIP] = None,
    threads: Annotated[int, _THREADS] = 1,
) -> None:
    """Compare the largest faces of two photos, in one line that states its uncertainty."""
    from cdmllab.photos.detectors import create
    from cdmllab.photos.two import line

    network, evaluation = network_and_evaluation(model, calibration, flip, threads)
    finder: Detector = create(detector, detector_model)
    typer.echo(line(first, second, network, finder, evaluation, far, least_eyes))


def network_and_evaluation(
    model: Path, calibration: Path | None, flip: bool | None, threads: int
) -> "tuple[Network, Evaluation | None]":
    """The network, and its evaluation where one is named, or is the only one next to it.

    Raises
    ------
    CdmlLabError : as `network_from`; there are several evaluations; or the evaluation is of another
        network
    """
    from cdmllab.cli.evaluate import folder_of
    from cdmllab.evaluate.measures import Measures
    from cdmllab.photos.thresholds import evaluation_of, evaluations

    network = network_from(model, threads)
    path = calibration
    if path is None:
        existing = evaluations(folder_of(model))
        if len(existing) > 1:
            names = ", ".join(str(one) for one in existing)
            raise CdmlLabError(f"{model} has several evaluations; --calibration names one: {names}")
        path = existing[0] if existing else None
    if path is None:
        return network._replace(flip=bool(flip)), None
    # Compare as the evaluation did, unless the user decides.
    recorded = Measures.read(path).flip if flip is None else flip
    network = network._replace(flip=recorded)
    return network, evaluation_of(path, network)


def network_from(model: Path, threads: int) -> "Network":
    """The network of a run, a released file or an ONNX file.

    Raises
    ------
    CdmlLabError : there is no such file, or it does not say which input it was trained on
    """
    from cdmllab.cli.evaluate import network_of
    from cdmllab.export import source
    from cdmllab.photos.album import Network

    if not model.exists():
        raise CdmlLabError(f"{model} is neither a run nor a file")
    if source.is_checkpoint(model):
        raise CdmlLabError(
            f"{model} does not record the input its network was trained on; state it once, and use "
            f"the written file: cdmllab weights convert {model} {model.stem}.safetensors "
            "(--channels RGB, BGR or grey)"
        )
    backbone, prepare = network_of(model, "cpu", threads)
    return Network(backbone, prepare, printable(model.name))


def _report_missing(verdict: str, missing: dict[str, str], where: str = "", most: int = 10) -> None:
    """Print why the first photos were skipped, and how many more were."""
    for name, why in list(missing.items())[:most]:
        typer.echo(f"{verdict}: {name}: {why.removeprefix(f'{name}: ')}", err=True)
    if len(missing) > most:
        typer.echo(f"{verdict}: {len(missing) - most:,} more{where}", err=True)


def protocol(
    folder: Annotated[Path, typer.Argument(help="The photos, with one folder per person.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the protocol.")],
    align: Annotated[
        bool,
        typer.Option("--align", help="Find and align the faces first."),
    ] = False,
    size: Annotated[int, typer.Option(min=8, help="Side of the aligned images, in pixels.")] = 112,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds, which share no people.")] = 10,
    per_fold: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="up to 300",
            help="Genuine pairs per fold, and as many impostor pairs.",
        ),
    ] = None,
    hard: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of impostor pairs that are look-alikes."),
    ] = 0.0,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The network that finds look-alikes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pairs.")] = 0,
    sample: Annotated[
        int | None, typer.Option(min=2, help="Draw people with at most this many photos.")
    ] = None,
    detector: Annotated[DetectorName, _DETECTOR] = "mtcnn",
    detector_model: Annotated[Path | None, _DETECTOR_MODEL] = None,
    least_eyes: Annotated[float, _LEAST_EYES] = 10.0,
    ignore: Annotated[list[str] | None, _IGNORE] = None,
    threads: Annotated[int, _THREADS] = 1,
) -> None:
    """Make a verification protocol of a folder of people: .npz, InsightFace's .bin, and LFW's
    pairs.txt with its images.
    """
    from cdmllab.cli.data import _bar
    from cdmllab.data.bins import FOLDS
    from cdmllab.photos import listing
    from cdmllab.photos import protocol as protocols
    from cdmllab.photos.detectors import create
    from cdmllab.photos.pairing import Rules

    source = listing.photos_in(folder, ignore=ignore or ())
    if sample is not None:
        source = listing.sampled(source, sample, seed)
    # Refuse a bad target before any photo is read.
    listing.refuse_inside(target, folder)
    listing.refuse_content(target, "the protocol")
    network = None if model is None else network_from(model, threads)
    with _bar("reading photos") as progress:
        made = protocols.make(
            source,
            Rules(folds, per_fold, hard, seed),
            size=size,
            detector=create(detector, detector_model) if align else None,
            network=network,
            least_eyes_px=least_eyes,
            progress=progress,
        )
    files = protocols.write(made, target)
    pairs = made.pairs
    typer.echo(
        f"{printable(str(folder))}: {int(pairs.same.sum()):,} genuine and "
        f"{int((~pairs.same).sum()):,} impostor pairs of {len(made.jpeg):,} images in {folds} "
        "folds that share no people"
    )
    _report_missing("not used", made.missing)
    if folds != FOLDS:
        typer.echo(
            f"note: readers of {protocols.BIN} split it into {FOLDS} folds, which may share "
            f"people; {protocols.NPZ} and {protocols.LIST} keep the {folds}"
        )
    for file in files:
        typer.echo(f"written to {file}")
