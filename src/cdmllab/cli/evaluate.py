"""`cdmllab evaluate`: a trained network judged by protocols, the results beside it in its run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdmllab.errors import CdmlLabError

if TYPE_CHECKING:
    from torch import nn

    from cdmllab.evaluate import Evaluation, Protocol
    from cdmllab.preprocessing import Preprocessing


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="The folder of a finished run, a released file, or an ONNX file (insightface's "
            "recognition models, "
            "our exports); without one the protocols are listed."
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="Names, patterns such as 'lab/*', or .npz files."),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            show_default="where it makes sense",
            help="Add the mirrored images' embeddings.",
        ),
    ] = None,
    threshold_from: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Choose a threshold on this protocol, judge the others by it."
        ),
    ] = None,
    far: Annotated[float, typer.Option(help="The FAR wanted of that threshold.")] = 1e-3,
    replicates: Annotated[
        int, typer.Option(min=0, help="Of the bootstrap behind the intervals; 0: none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw ROC, worst pairs, errors by nuisance: SVG.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 512,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")
    ] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Of the network on the CPU.")] = 1,
    redo: Annotated[
        bool, typer.Option("--redo", help="Measure again what is there already.")
    ] = False,
) -> None:
    """Judge a run's network by protocols, into RUN/eval/PROTOCOL.json; what is there already is not
    done again.
    """
    from cdmllab.evaluate import cached, protocols

    if run is None:
        for name in protocols.names():
            typer.echo(f"{name:30} {protocols.about(name)}")
        return
    wanted = protocols.matching([*(protocol or []), *(more or [])])
    if not wanted:
        raise CdmlLabError(
            "name a protocol with --protocol; `cdmllab evaluate` without a run lists them"
        )
    if wanted == [threshold_from]:
        raise CdmlLabError(
            f"a threshold chosen on {threshold_from} cannot be judged on it: name another protocol"
        )
    if figures:  # before measuring: what they need may not be installed
        from cdmllab.evaluate import figures as drawings
    backbone, prepare = network_of(run, device, threads)
    settings = cached.Settings(flip, replicates, seed, batch_size)
    folder = folder_of(run)

    def judged(name: str) -> "tuple[Evaluation, Protocol]":
        done, loaded, was_there = cached.judge(
            backbone, name, folder, settings, prepare=prepare, redo=redo
        )
        typer.echo(f"{done.name}{' (done before)' if was_there else ''}")
        if figures:
            drawn = drawings.write(done, loaded, folder)
            typer.echo(f"  drawn      {len(drawn)} figures, {folder / done.name}__*.svg")
        return done, loaded

    try:
        chosen_on = judged(threshold_from)[0] if threshold_from else None
        for name in wanted:
            if name == threshold_from:
                continue
            done, loaded = judged(name)
            if chosen_on is not None:
                done = cached.decide(done, chosen_on, far, loaded.people())
                done.write(folder)
            for line in report(done.measures):
                typer.echo(f"  {line}")
            typer.echo(f"  written to {folder / done.name}.json")
    except ValueError as error:
        raise CdmlLabError(f"{run}: {error}") from error


def report(measures: Any) -> list[str]:
    """An evaluation's measures as lines of text."""
    m = measures
    lines = [f"pairs      {m['genuine_pairs']:,} genuine, {m['impostor_pairs']:,} impostor"]
    if m["accuracy"]:
        a, grid = m["accuracy"], m["accuracy"]["arcface_torch_rule"]
        lines.append(f"accuracy   {_share(a)} (fold sd {100 * a['std_over_folds']:.2f})")
        lines.append(
            f"           {100 * grid['value']:.2f} by arcface_torch's rule "
            f"({100 * grid['difference']:+.2f})"
        )
    lines += [f"AUC        {_share(m['auc'])}", f"EER        {_share(m['eer'])}"]
    for at in m["tar_at_far"]:
        if at["value"] is not None:
            lines.append(f"TAR@{at['far']:<7g}{_share(at)}")
            if rule := at.get("arcface_torch_rule"):  # not in what older versions wrote
                lines.append(
                    f"           {100 * rule['value']:.2f} by arcface_torch's rule "
                    f"({100 * rule['difference']:+.2f}), at a FAR of {rule['far']:.3g}"
                )
    if beyond := [f"{at['far']:g}" for at in m["tar_at_far"] if at["value"] is None]:
        lines.append(f"           not at {', '.join(beyond)}: too few impostor pairs to resolve it")
    if "rank" in (m.get("identification") or {}):
        i = m["identification"]
        found = [f"rank-{at['k']} {100 * at['value']:.2f} %" for at in i["rank"]]
        found += [f"TPIR@FPIR {at['fpir']:g} {100 * at['value']:.2f} %" for at in i["tpir_at_fpir"]]
        lines.append(
            f"1:N        {', '.join(found)} (gallery of {i['gallery']:,}, {i['probes_without']:,} "
            f"strangers)"
        )
    if m["intervals"]:
        i = m["intervals"]
        lines.append(
            f"intervals  {100 * i['confidence']:g} %, over "
            f"{i['over']}{': ' + i['note'] if i['note'] else ''}"
        )
    if m.get("decision"):
        d = m["decision"]
        lines.append(f"threshold  {d['threshold_cos']:.4f}, for FAR {d['wanted_far']:g} on "
                     f"{d['threshold_from']}: "
                     f"FAR here {_share(d['far'])}, TAR {_share(d['tar'])}")  # fmt: skip
    return lines


def _share(measure: Any) -> str:
    value = f"{100 * measure['value']:.2f} %"
    if measure.get("interval"):
        low, high = (100 * end for end in measure["interval"])
        value += f" [{low:.2f}, {high:.2f}]"
    return value


def folder_of(run: Path) -> Path:
    """Where the evaluations of a run or a file go; a release and its export may share a folder."""
    if run.is_dir():
        return run / "eval"
    return run.with_name(f"{run.stem}-onnx" if run.suffix == ".onnx" else run.stem) / "eval"


def network_of(run: Path, device: str, threads: int) -> "tuple[nn.Module, Preprocessing]":
    """The network, and what is done to uint8 images before it sees them, as its file says."""
    import torch

    from cdmllab.backbones import weights
    from cdmllab.runs import Run
    from cdmllab.training import released

    torch.set_num_threads(threads)
    if device not in ("cpu", "cuda"):
        raise CdmlLabError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise CdmlLabError("device cuda is asked for, and this machine has no CUDA device")
    if run.suffix == ".onnx":
        from cdmllab.export.onnx_network import OnnxNetwork

        if device != "cpu":
            raise CdmlLabError(f"{run}: ONNX files are run on the CPU, not on {device}")
        network = OnnxNetwork(run, threads)
        return network, network.preprocessing
    try:
        backbone, said = weights.load_release(released(Run.open(run)) if run.is_dir() else run)
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    return backbone.to(device), said.preprocessing
