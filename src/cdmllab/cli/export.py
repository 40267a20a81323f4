"""The commands `cdmllab export` and `cdmllab weights`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdmllab.errors import CdmlLabError

if TYPE_CHECKING:
    from cdmllab.export.convert import Exported

weights = typer.Typer(no_args_is_help=True)


@weights.callback()
def main() -> None:
    """Weights in files: what they are, and from one format to another."""


def export(
    source: Annotated[
        Path, typer.Argument(help="A run's folder, or a released .safetensors file.")
    ],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="For which runtime.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise, calibrated on face-lab images.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="The model's file (default: beside the source, or RUN/export/)."),
    ] = None,
    identities: Annotated[
        int, typer.Option(help="People in the face-lab protocol that judges the file.")
    ] = 100,
    max_drop: Annotated[
        float, typer.Option(help="Percentage points of accuracy that may be lost.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Of the face-lab images.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads to use.")] = 1,
) -> None:
    """Write a trained backbone for another runtime, checked against PyTorch."""
    import torch

    from cdmllab.export import convert

    torch.set_num_threads(threads)
    done = convert.export(
        source,
        to,
        output=output,
        int8=int8,
        identities=identities,
        max_drop_points=max_drop,
        seed=seed,
        threads=threads,
        tell=lambda line: typer.echo(f"  {line}", err=True),
    )
    _report(done)


def _report(done: "Exported") -> None:
    from cdmllab.export.onnx_file import INPUT, OPSET, OUTPUT

    net = done.source.net
    c, s, d = net.channels, net.size, net.embedding_dim
    typer.echo(
        f"{done.source.name}: {INPUT} [batch, {c}, {s}, {s}] -> {OUTPUT} [batch, {d}], ONNX opset "
        f"{OPSET}"
    )
    typer.echo(f"  {'':10} {'cosine to PyTorch':>20}  {'accuracy':>8}")
    before = next(iter(done.agreement.values())).accuracy_before
    typer.echo(f"  {'PyTorch':10} {'':>20}  {100 * before:8.2f}")
    for name, one in done.agreement.items():
        cosines = f"{one.faces_cosine_mean:.5f} (>= {one.faces_cosine_min:.3f})"
        typer.echo(f"  {name:10} {cosines:>20}  {100 * one.accuracy_after:8.2f}")
    if (c, s) != (3, 112):
        typer.echo(
            f"note: insightface's loader knows recognition models by 3 x 112 x 112; this one is "
            f"{c} x {s} x {s}"
        )
    for file in done.files:
        typer.echo(f"{file} ({file.stat().st_size / 2**20:.2f} MiB)")


@weights.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="A checkpoint, a .safetensors release, or a run's folder.")
    ],
    target: Annotated[Path, typer.Argument(help="A .safetensors file, or a .pth/.pt checkpoint.")],
    name: Annotated[
        str, typer.Option(help="The backbone in a checkpoint (default: the one that fits).")
    ] = "",
    channels: Annotated[
        Literal["RGB", "BGR", "grey"] | None,
        typer.Option(show_default="its code's", help="The channels a checkpoint was trained on."),
    ] = None,
    mean: Annotated[
        float | None,
        typer.Option(
            show_default="its code's", help="Subtracted from pixels in [0, 1], for a checkpoint."
        ),
    ] = None,
    std: Annotated[
        float | None,
        typer.Option(show_default="its code's", help="Pixels are divided by it, for a checkpoint."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Keep a release in float16, half the size.")
    ] = False,
) -> None:
    """Turn a checkpoint or a run into a release, or a release or a run into a checkpoint.

    Checkpoints are those of arcface_torch, MagFace, AdaFace and CVLface; each is recorded with the
    input of its code.
    """
    from cdmllab.backbones import checkpoints
    from cdmllab.backbones.weights import save_release
    from cdmllab.export import source as sources

    if target.suffix not in (".safetensors", ".pth", ".pt"):
        raise CdmlLabError(f"{target}: weights are written as .safetensors, .pth or .pt")
    if half and target.suffix != ".safetensors":
        raise CdmlLabError(
            f"{target}: --half is for releases; arcface_torch's own files are in float32"
        )
    told = {"channels": channels, "mean": mean, "std": std}
    told = {key: value for key, value in told.items() if value is not None}
    if sources.is_checkpoint(source):
        given = sources.from_checkpoint(source, name, told)
    elif wrong := [*(["name"] if name else []), *told]:
        raise CdmlLabError(f"{source} says itself what it is: --{wrong[0]} is for checkpoints")
    else:
        given = sources.read(source)
    if target.suffix != ".safetensors":
        checkpoints.save(given.net, target)
    else:
        save_release(
            given.net,
            target,
            name=given.name,
            options=given.options,
            preprocessing=given.preprocessing,
            config=given.config,
            git_commit=given.git_commit,
            half=half,
        )
    used = given.preprocessing
    typer.echo(f"{given.name} -> {target} ({target.stat().st_size / 2**20:.2f} MiB)")
    typer.echo(f"  fed {used['channels']}, (x / 255 - {_one(used['mean'])}) / {_one(used['std'])}")


def _one(values: list[float]) -> str:
    """One number, or all where the channels differ."""
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"


@weights.command()
def show(file: Annotated[Path, typer.Argument(help="A released .safetensors file.")]) -> None:
    """Tell what a release says of itself."""
    import yaml

    from cdmllab.backbones.weights import release

    said = release(file)
    typer.echo(yaml.safe_dump(said._asdict(), sort_keys=False, default_flow_style=None).rstrip())


@weights.command()
def push(
    folder: Annotated[
        Path,
        typer.Argument(help="With README.md and model.safetensors, as `cdmllab reproduce` makes."),
    ],
    repository: Annotated[str, typer.Argument(help="On the Hugging Face hub: you/name.")],
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see; read the data set's terms.")
    ] = False,
) -> None:
    """Upload a network and its model card to the Hugging Face hub, with the token that
    `hf auth login` keeps.
    """
    from cdmllab.export import card

    typer.echo(card.push(folder, repository, private=not public))
