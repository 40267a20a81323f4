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
    """Inspect, convert and publish files of weights."""


def export(
    source: Annotated[
        Path, typer.Argument(help="A run's folder, or a released .safetensors file.")
    ],
    to: Annotated[
        Literal["onnx", "openvino"], typer.Option(help="The runtime to export for.")
    ] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to int8, calibrated on face-lab images.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="The model's file (default: next to the source, or in RUN/export/)."),
    ] = None,
    identities: Annotated[
        int, typer.Option(help="People in the face-lab protocol on which the file is tested.")
    ] = 100,
    max_drop: Annotated[
        float, typer.Option(help="Accuracy that may be lost, in percentage points.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the face-lab images.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Export a trained backbone to another runtime and check it against PyTorch."""
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
        report=lambda line: typer.echo(f"  {line}", err=True),
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
    # PyTorch's own accuracy is the same in every comparison.
    before = next(iter(done.agreement.values())).accuracy_before
    typer.echo(f"  {'PyTorch':10} {'':>20}  {100 * before:8.2f}")
    for name, one in done.agreement.items():
        cosines = f"{one.faces_cosine_mean:.5f} (>= {one.faces_cosine_min:.3f})"
        typer.echo(f"  {name:10} {cosines:>20}  {100 * one.accuracy_after:8.2f}")
    if (c, s) != (3, 112):
        typer.echo(
            f"note: insightface's loader recognises such models by an input of 3 x 112 x 112; "
            f"this one is {c} x {s} x {s}"
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
        str, typer.Option(help="The backbone of a checkpoint (default: the one that fits).")
    ] = "",
    channels: Annotated[
        Literal["RGB", "BGR", "grey"] | None,
        typer.Option(
            show_default="its code's", help="For a checkpoint: channels it was trained on."
        ),
    ] = None,
    mean: Annotated[
        float | None,
        typer.Option(
            show_default="its code's", help="For a checkpoint: subtracted from pixels in [0, 1]."
        ),
    ] = None,
    std: Annotated[
        float | None,
        typer.Option(show_default="its code's", help="For a checkpoint: divides the pixels."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store a release in float16, at half the size.")
    ] = False,
) -> None:
    """Convert a checkpoint or a run to a release, or a release or a run to a checkpoint.

    Reads the checkpoints of arcface_torch, MagFace, AdaFace and CVLface, and records the
    preprocessing that their code uses.
    """
    from cdmllab.backbones import checkpoints
    from cdmllab.backbones.weights import save_release
    from cdmllab.export import source as sources

    if target.suffix not in (".safetensors", ".pth", ".pt"):
        raise CdmlLabError(f"{target}: weights are written as .safetensors, .pth or .pt")
    if half and target.suffix != ".safetensors":
        raise CdmlLabError(
            f"{target}: --half is for releases; checkpoints of arcface_torch are float32"
        )
    # The options that were given; a release and a run record them themselves.
    options = {"channels": channels, "mean": mean, "std": std}
    options = {key: value for key, value in options.items() if value is not None}
    if sources.is_checkpoint(source):
        given = sources.from_checkpoint(source, name, options)
    elif wrong := [*(["name"] if name else []), *options]:
        raise CdmlLabError(f"{source} records this itself: --{wrong[0]} is only for checkpoints")
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
    typer.echo(
        f"  input {used['channels']}, (x / 255 - {_one(used['mean'])}) / {_one(used['std'])}"
    )


def _one(values: list[float]) -> str:
    """One number if all channels have the same, else all of them."""
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"


@weights.command()
def show(file: Annotated[Path, typer.Argument(help="A released .safetensors file.")]) -> None:
    """Print the metadata of a release."""
    import yaml

    from cdmllab.backbones.weights import release

    metadata = release(file)
    typer.echo(
        yaml.safe_dump(metadata._asdict(), sort_keys=False, default_flow_style=None).rstrip()
    )


@weights.command()
def push(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with README.md and model.safetensors, made by `cdmllab reproduce`."
        ),
    ],
    repository: Annotated[
        str, typer.Argument(help="Repository on the Hugging Face hub: you/name.")
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Publish it; read the data set's terms first.")
    ] = False,
) -> None:
    """Upload a network and its model card to the Hugging Face hub.

    Uses the token that `hf auth login` stores.
    """
    from cdmllab.export import card

    typer.echo(card.push(folder, repository, private=not public))
