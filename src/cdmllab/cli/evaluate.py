"""`cdmllab evaluate`: evaluate a trained network on protocols, into the folder of its run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdmllab.errors import CdmlLabError

if TYPE_CHECKING:
    from torch import nn

    from cdmllab.evaluate import Evaluation, Measures, Protocol
    from cdmllab.preprocessing import Preprocessing


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A finished run's folder, a released file, or an ONNX file (insightface's "
            "recognition models or our exports); without one, list the protocols."
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...", help="Protocols: names, patterns such as 'lab/*', or .npz files."
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            show_default="if the protocol allows it",
            help="Add the mirrored images' embeddings.",
        ),
    ] = None,
    threshold_from: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Choose a threshold on this protocol and apply it to the others."
        ),
    ] = None,
    far: Annotated[float, typer.Option(help="The FAR of that threshold.")] = 1e-3,
    replicates: Annotated[
        int, typer.Option(min=0, help="Bootstrap replicates for the intervals; 0 for no intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures", help="Also draw the ROC, the worst pairs and errors by nuisance (SVG)."
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 512,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")
    ] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 1,
    redo: Annotated[
        bool, typer.Option("--redo", help="Evaluate again even if a result exists.")
    ] = False,
) -> None:
    """Evaluate a network on protocols and write RUN/eval/PROTOCOL.json.

    An existing result of the same weights and settings is reused.
    """
    from cdmllab.evaluate import cached, protocols

    if run is None:
        for name in protocols.names():
            typer.echo(f"{name:30} {protocols.about(name)}")
        return
    selected = protocols.matching([*(protocol or []), *(more or [])])
    if not selected:
        raise CdmlLabError(
            "name a protocol with --protocol; `cdmllab evaluate` without a run lists them"
        )
    if selected == [threshold_from]:
        raise CdmlLabError(
            f"a threshold chosen on {threshold_from} cannot be evaluated on it: name another "
            f"protocol"
        )
    if figures:  # imported before measuring, so that a missing package is reported at once
        from cdmllab.evaluate import figures as drawings
    backbone, prepare = network_of(run, device, threads)
    settings = cached.Settings(flip, replicates, seed, batch_size)
    folder = folder_of(run)

    def evaluate_on(name: str) -> "tuple[Evaluation, Protocol]":
        done, loaded, reused = cached.evaluate(
            backbone, name, folder, settings, prepare=prepare, redo=redo
        )
        typer.echo(f"{done.name}{' (done before)' if reused else ''}")
        if figures:
            drawn = drawings.write(done, loaded, folder)
            typer.echo(f"  drawn      {len(drawn)} figures, {folder / done.name}__*.svg")
        return done, loaded

    try:
        # The protocol of the threshold comes first, because the others are judged by it.
        chosen_on = evaluate_on(threshold_from)[0] if threshold_from else None
        for name in selected:
            if name == threshold_from:
                continue
            done, loaded = evaluate_on(name)
            if chosen_on is not None:
                done = cached.decide(done, chosen_on, far, loaded.people())
                done.write(folder)
            for line in report(done.measures):
                typer.echo(f"  {line}")
            typer.echo(f"  written to {folder / done.name}.json")
    except ValueError as error:
        raise CdmlLabError(f"{run}: {error}") from error


def report(measures: "Measures") -> list[str]:
    """Format an evaluation's measures as lines of text."""
    from cdmllab.evaluate.measures import Identification

    m = measures
    # Labels fill eleven characters, so that the values are aligned.
    lines = [f"pairs      {m.genuine_pairs:,} genuine, {m.impostor_pairs:,} impostor"]
    if m.accuracy is not None:
        grid = m.accuracy.arcface_torch_rule
        lines.append(
            f"accuracy   {_share(m.accuracy.value, m.accuracy.interval)} "
            f"(fold sd {100 * m.accuracy.std_over_folds:.2f})"
        )
        lines.append(
            f"           {100 * grid.value:.2f} by arcface_torch's rule "
            f"({100 * grid.difference:+.2f})"
        )
    lines.append(f"AUC        {_share(m.auc.value, m.auc.interval)}")
    lines.append(f"EER        {_share(m.eer.value, m.eer.interval)}")
    for at in m.tar_at_far:
        if at.value is not None:
            lines.append(f"TAR@{at.far:<7g}{_share(at.value, at.interval)}")
            if rule := at.arcface_torch_rule:  # not in records of earlier versions
                lines.append(
                    f"           {100 * rule.value:.2f} by arcface_torch's rule "
                    f"({100 * rule.difference:+.2f}), at a FAR of {rule.far:.3g}"
                )
    if beyond := [f"{at.far:g}" for at in m.tar_at_far if at.value is None]:
        lines.append(f"           not at {', '.join(beyond)}: too few impostor pairs to resolve it")
    if isinstance(m.identification, Identification):
        i = m.identification
        rates = [f"rank-{at.k} {100 * at.value:.2f} %" for at in i.rank]
        rates += [f"TPIR@FPIR {at.fpir:g} {100 * at.value:.2f} %" for at in i.tpir_at_fpir]
        lines.append(
            f"1:N        {', '.join(rates)} (gallery of {i.gallery:,}, {i.probes_without:,} "
            f"strangers)"
        )
    if m.intervals is not None:
        note = f": {m.intervals.note}" if m.intervals.note else ""
        lines.append(
            f"intervals  {100 * m.intervals.confidence:g} %, over {m.intervals.over}{note}"
        )
    if m.decision is not None:
        d = m.decision
        lines.append(
            f"threshold  {d.threshold_cos:.4f}, for FAR {d.wanted_far:g} on {d.threshold_from}: "
            f"FAR here {_share(d.far.value, d.far.interval)}, "
            f"TAR {_share(d.tar.value, d.tar.interval)}"
        )
    return lines


def _share(value: float, interval: tuple[float, float] | None) -> str:
    text = f"{100 * value:.2f} %"
    return (
        text if interval is None else f"{text} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
    )


def folder_of(run: Path) -> Path:
    """The folder for evaluations; a release and its ONNX export may lie in the same folder."""
    if run.is_dir():
        return run / "eval"
    return run.with_name(f"{run.stem}-onnx" if run.suffix == ".onnx" else run.stem) / "eval"


def network_of(run: Path, device: str, threads: int) -> "tuple[nn.Module, Preprocessing]":
    """The network, and the preprocessing of uint8 images that its file records."""
    import torch

    from cdmllab.backbones import weights
    from cdmllab.runs import Run
    from cdmllab.training import released

    torch.set_num_threads(threads)
    if device not in ("cpu", "cuda"):
        raise CdmlLabError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise CdmlLabError("device cuda was requested, but this machine has no CUDA device")
    if run.suffix == ".onnx":
        from cdmllab.export.onnx_network import OnnxNetwork

        if device != "cpu":
            raise CdmlLabError(f"{run}: ONNX files run on the CPU only, not on {device}")
        network = OnnxNetwork(run, threads)
        return network, network.preprocessing
    try:
        backbone, release = weights.load_release(released(Run.open(run)) if run.is_dir() else run)
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    return backbone.to(device), release.preprocessing
