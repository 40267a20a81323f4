"""The results of `cdmllab bench` as tables, with each benchmark's question, peer and limit.

The book's page of benchmarks and its chapters print them; the numbers are read from
``results/benchmarks/``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from cdmllab import results
from cdmllab.backbones import latency
from cdmllab.book.session import Table
from cdmllab.errors import did_you_mean

Record = Mapping[str, Any]
Device = Literal["cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda")


class Captioned(NamedTuple):
    """A table and the sentence above it."""

    caption: str
    table: Table


class Benchmark(NamedTuple):
    """The description of one of the scripts in ``benchmarks/``."""

    question: str
    peer: str  # the implementation that ours is compared with
    limit: str  # the bound that no implementation can beat
    tables: Callable[[Record], Iterator[Captioned]]


class BenchmarkReport(NamedTuple):
    """A benchmark's record in Markdown for Jupyter and the book, or a note without one."""

    name: str
    record: Record | None

    def _repr_markdown_(self) -> str:
        if self.record is None:
            return f"Not measured yet; run `cdmllab bench {self.name}`."
        parts = [_provenance(self.record)]
        for caption, table in BENCHMARKS[self.name].tables(self.record):
            parts += [caption, table._repr_markdown_()]
        parts += [
            f"Not measured: {name}, {why}." for name, why in self.record.get("left_out", {}).items()
        ]
        return "\n\n".join(parts)


def report(name: str, device: Device = "cpu") -> BenchmarkReport:
    """The results of a benchmark on a kind of device.

    Raises
    ------
    ValueError : there is no such benchmark
    """
    if name not in BENCHMARKS:
        raise ValueError(
            f"unknown benchmark {name!r}{did_you_mean(name, BENCHMARKS)}: choose from "
            f"{', '.join(BENCHMARKS)}"
        )
    return BenchmarkReport(name, results.benchmark(name, device))


def page(name: str) -> str:
    """The section of a benchmark in Markdown: its question, peer and limit, and every record."""
    about = BENCHMARKS[name]
    measured = [one for device in DEVICES if (one := report(name, device)).record is not None]
    sections = [one._repr_markdown_() for one in measured or [BenchmarkReport(name, None)]]
    return "\n\n".join(
        [about.question, f"- **Peer:** {about.peer}\n- **Limit:** {about.limit}", *sections]
    )


def _provenance(record: Record) -> str:
    threads = int(record["threads"])
    dirty = ", with uncommitted changes" if record["git_dirty"] else ""
    minutes = round(record.get("wall_s", 0) / 60)
    took = f", in {minutes} minute{'s' if minutes > 1 else ''}" if minutes else ""
    commit = str(record["git_commit"] or "unknown")[:10]
    return (
        f"Measured on {record['date']}{took}: {record['device']}, {threads} "
        f"thread{'s' if threads > 1 else ''}, "
        f"PyTorch {record['versions']['torch']}, commit `{commit}`{dirty}. To repeat it, run "
        f"`{record['command']}`."
    )


def _heads(record: Record) -> Iterator[Captioned]:
    for shape in record["shapes"].values():
        gradient = shape["centre_gradient_mib"]
        rows = [
            [
                row["head"],
                f"{row['ratio_to_limit']:.2f}",
                f"{row['peak_mib'] / gradient:.2f}",
                f"{row['peak_mib']:,.0f}",
            ]
            for row in shape["heads"]
        ]
        yield Captioned(
            f"{shape['batch']} embeddings of {shape['dim']} dimensions, {shape['identities']:,} "
            f"identities. Three matrix products take {shape['limit_ms']:g} ms; the gradient of the "
            f"centres needs {gradient:g} MiB.",
            Table(
                ["head", "time / limit", "peak memory / gradient of the centres", "peak MiB"], rows
            ),
        )


def _heads_sharded(record: Record) -> Iterator[Captioned]:
    for shape in record["shapes"].values():
        rows = [
            [row["head"], f"{row['ratio_to_blocked']:.2f}", f"{row['peak_mib']:,.0f}"]
            for row in shape["heads"]
        ]
        yield Captioned(
            f"{shape['batch']} embeddings of {shape['dim']} dimensions in total, "
            f"{shape['identities']:,} identities, {shape['ranks']} ranks. The blocked head alone "
            f"takes {shape['blocked_ms']:g} ms.",
            Table(["head", "time / blocked head on one rank", "peak MiB per rank"], rows),
        )


def _peak(row: Record) -> str:
    """The peak memory of a case; empty where it was not measured."""
    return "" if row["peak_mib"] is None else f"{row['peak_mib']:,}"


def _evaluation(record: Record) -> Iterator[Captioned]:
    for table in record["tables"].values():
        rows = [
            [row["case"], f"{row['seconds']:.3g}", f"{row['ours_is_faster']:g}", _peak(row)]
            for row in table["cases"]
        ]
        yield Captioned(
            f"{table['pairs']:,} pairs of embeddings of {table['dim']} dimensions, "
            f"{table['input_mib']:,} MiB of input.",
            Table(["way", "seconds", "time / ours", "peak MiB"], rows),
        )


def _search(record: Record) -> Iterator[Captioned]:
    rows = [
        [row["case"], f"{row['seconds']:.3g}", f"{row['ratio_to_peer']:.2f}", _peak(row)]
        for row in record["cases"]
    ]
    yield Captioned(
        f"The {record['k']} nearest of {record['gallery']:,} gallery entries for "
        f"{record['probes']:,} probes, embeddings of {record['dim']} dimensions, "
        f"{record['cores']} cores.",
        Table(["way", "seconds", "time / faiss", "peak MiB"], rows),
    )


def _data(record: Record) -> Iterator[Captioned]:
    exact = "equal to PIL's bit for bit" if record["bit_equal_to_pil"] else "not equal to PIL's"
    yield Captioned(
        f"{record['images']:,} JPEGs of {record['mean_bytes']:,} bytes: {record['shown']}. Our "
        f"pixels are {exact}.",
        Table(
            ["speed of", "ratio"],
            [[name, f"{ratio:.2f}"] for name, ratio in record["ratios"].items()],
        ),
    )
    yield Captioned(
        "The speeds behind the ratios:",
        Table(
            ["way", "per second"],
            [[name, f"{value:,.0f}"] for name, value in record["per_second"].items()],
        ),
    )


def _backbones(record: Record) -> Iterator[Captioned]:
    models = record["models"]
    for batch in latency.batches(record):
        key = f"batch_{batch}"
        rows = [
            [
                "eager, time / R18's",
                *(f"{model['ways'][0][key]['ratio_to_r18']:.2f}" for model in models),
            ]
        ]
        rows += [
            [way["way"], *(f"{model['ways'][k][key]['speed_up']:.2f}" for model in models)]
            for k, way in enumerate(models[0]["ways"])
            if k
        ]
        images = "One image" if batch == 1 else f"{batch} images at a time"
        yield Captioned(
            f"{images}: the time of eager float32 as a multiple of R18's, then the speed-up of the "
            f"other ways.",
            Table(["way", *(model["backbone"].replace("_", " ") for model in models)], rows),
        )
    least = {
        way["way"]: min(model["ways"][k]["cosine_min"] for model in models)
        for k, way in enumerate(models[0]["ways"])
    }
    yield Captioned(
        "The smallest cosine to the embedding of eager float32, over all networks:",
        Table(["way", "cosine"], [[way, f"{cosine:.4f}"] for way, cosine in least.items()]),
    )


def _training(record: Record) -> Iterator[Captioned]:
    for model in record["models"]:
        rows = [
            [way["way"], f"{way['ratio_to_arcface_torch']:.2f}", f"{way['ratio_to_eager']:.2f}",
             f"{way['images_per_s']:,.1f}"]
            for way in model["ways"]
        ]  # fmt: skip
        yield Captioned(
            f"{model['backbone']}, batches of {model['batch']}, {record['identities']:,} "
            f"identities:",
            Table(
                ["way", "speed / arcface_torch's", "speed / eager float32", "images per second"],
                rows,
            ),
        )


def _faces(record: Record) -> Iterator[Captioned]:
    n = record["processes"]
    columns = [
        "size", "one process, per second", f"{n} processes, per second", "all processes / one"
    ]  # fmt: skip
    rows = [
        [
            f"{row['size']}\N{NO-BREAK SPACE}px",
            f"{row['one_process']:,.0f}",
            f"{row['all_cores']:,.0f}",
            f"{row['all_cores'] / row['one_process']:.2f} of {n}",
        ]
        for row in record["images_per_s"]
    ]
    kept = slice(None if n > 1 else 2)  # with a single process there is nothing to compare
    yield Captioned(
        f"Images of the training mix, strength {record['strength']:g}:",
        Table(columns[kept], [row[kept] for row in rows]),
    )
    if "casia_shaped_world" in record:
        world = record["casia_shaped_world"]
        yield Captioned(
            f"A world of {world['images']:,} images took {world['seconds']:.0f} s.",
            Table(
                ["images", "per second"],
                [[f"{world['images']:,}", f"{world['images'] / world['seconds']:,.0f}"]],
            ),
        )


BENCHMARKS: dict[str, Benchmark] = {
    "heads": Benchmark(
        "How much does a head cost, forward and backward, compared with the minimum that every "
        "head needs?",
        "pytorch-metric-learning's ArcFace, the textbook implementation, and a model of "
        "arcface_torch's.",
        "in time, three matrix products into preallocated memory; in memory, the gradient of the "
        "class centres.",
        _heads,
    ),
    "heads_sharded": Benchmark(
        "What does splitting the class centres over ranks cost, and what does it save?",
        "the blocked head on one rank, with the full batch.",
        "half the time and half the memory, for two ranks with one core each and no communication.",
        _heads_sharded,
    ),
    "training": Benchmark(
        "How many images per second pass through network, head and optimiser?",
        "a model of arcface_torch's step: half precision, channels-first images, a dense head and "
        "clipped gradients.",
        "not measured. It would be the network's multiply-accumulates at the speed of one large "
        "matrix product.",
        _training,
    ),
    "backbones": Benchmark(
        "How fast are the nine networks, in eight ways of running them?",
        "eager PyTorch in float32, on the same network in the same process.",
        "the embeddings must not change: the smallest cosine to eager float32 is given below.",
        _backbones,
    ),
    "evaluation": Benchmark(
        "How long does it take to evaluate 6,000 pairs, and the 15.66 million pairs of IJB-C?",
        "models of arcface_torch's loops and of the public IJB scripts with scikit-learn's ROC.",
        "equal results: the benchmark stops if ours and theirs differ.",
        _evaluation,
    ),
    "search": Benchmark(
        "How long does it take to find the ten nearest of a million faces, exactly?",
        "the flat index of [faiss](https://github.com/facebookresearch/faiss), on all cores too.",
        "the matrix product of probes and gallery alone.",
        _search,
    ),
    "data": Benchmark(
        "How fast do records become batches?",
        "mxnet's reader, PIL, torchvision, and a data set that decodes one image at a time.",
        "equal pixels; and more images per second than a training step can use are of no benefit.",
        _data,
    ),
    "faces": Benchmark(
        "How many faces can be rendered per second?",
        "none that we know of; one process is compared with all.",
        "the speed of one process times the number of processes.",
        _faces,
    ),
}
