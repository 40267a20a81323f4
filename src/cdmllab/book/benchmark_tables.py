"""What `cdmllab bench` has found, as tables: for each benchmark its question, its peer, its limit,
and the rows.

The book's page of benchmarks and its chapters print these; the numbers come from
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
    """One of the measurements in ``benchmarks/``."""

    question: str
    peer: str
    limit: str
    tables: Callable[[Record], Iterator[Captioned]]


class BenchmarkReport(NamedTuple):
    """A benchmark's record for Jupyter and the book, in Markdown; says so where it has not been
    measured.
    """

    name: str
    record: Record | None

    def _repr_markdown_(self) -> str:
        if self.record is None:
            return f"Not measured yet: `cdmllab bench {self.name}` does it."
        parts = [_came_from(self.record)]
        for caption, table in BENCHMARKS[self.name].tables(self.record):
            parts += [caption, table._repr_markdown_()]
        parts += [
            f"Left out: {name}, {why}." for name, why in self.record.get("left_out", {}).items()
        ]
        return "\n\n".join(parts)


def report(name: str, device: Device = "cpu") -> BenchmarkReport:
    """What a benchmark found on a kind of device.

    Raises
    ------
    ValueError : there is no such benchmark
    """
    if name not in BENCHMARKS:
        raise ValueError(
            f"unknown benchmark {name!r}{did_you_mean(name, BENCHMARKS)}; there is: "
            f"{', '.join(BENCHMARKS)}"
        )
    return BenchmarkReport(name, results.benchmark(name, device))


def page(name: str) -> str:
    """All there is to say of a benchmark, in Markdown: what it asks, then every record, or that
    there is none.
    """
    about = BENCHMARKS[name]
    found = [one for device in DEVICES if (one := report(name, device)).record is not None]
    told = [one._repr_markdown_() for one in found or [BenchmarkReport(name, None)]]
    return "\n\n".join(
        [about.question, f"- **Peer:** {about.peer}\n- **Limit:** {about.limit}", *told]
    )


def _came_from(record: Record) -> str:
    threads = int(record["threads"])
    dirty = ", with changes that are not committed" if record["git_dirty"] else ""
    minutes = round(record.get("wall_s", 0) / 60)
    took = f", in {minutes} minute{'s' if minutes > 1 else ''}" if minutes else ""
    commit = str(record["git_commit"] or "unknown")[:10]
    return (
        f"Measured on {record['date']}{took}: {record['device']}, {threads} "
        f"thread{'s' if threads > 1 else ''}, "
        f"PyTorch {record['versions']['torch']}, commit `{commit}`{dirty}. Again: "
        f"`{record['command']}`"
    )


def _heads(record: Record) -> Iterator[Captioned]:
    for of in record["shapes"].values():
        gradient = of["centre_gradient_mib"]
        rows = [
            [
                row["head"],
                f"{row['ratio_to_limit']:.2f}",
                f"{row['peak_mib'] / gradient:.2f}",
                f"{row['peak_mib']:,.0f}",
            ]
            for row in of["heads"]
        ]
        yield Captioned(
            f"{of['batch']} embeddings of {of['dim']} numbers, {of['identities']:,} identities. "
            f"Three products take "
            f"{of['limit_ms']:g} ms, the gradient of the centres {gradient:g} MiB.",
            Table(
                ["head", "time / limit", "peak memory / gradient of the centres", "peak MiB"], rows
            ),
        )


def _heads_sharded(record: Record) -> Iterator[Captioned]:
    for of in record["shapes"].values():
        rows = [
            [row["head"], f"{row['ratio_to_blocked']:.2f}", f"{row['peak_mib']:,.0f}"]
            for row in of["heads"]
        ]
        yield Captioned(
            f"{of['batch']} embeddings of {of['dim']} numbers in all, {of['identities']:,} "
            f"identities, {of['ranks']} "
            f"ranks. The blocked head alone takes {of['blocked_ms']:g} ms.",
            Table(["head", "time / blocked head on one rank", "peak MiB of a rank"], rows),
        )


def _evaluation(record: Record) -> Iterator[Captioned]:
    for of in record["tables"].values():
        rows = [
            [row["case"], f"{row['seconds']:.3g}", f"{row['ours_is_faster']:g}",
             "" if row["peak_mib"] is None else f"{row['peak_mib']:,}"]
            for row in of["cases"]
        ]  # fmt: skip
        yield Captioned(
            f"{of['pairs']:,} pairs of embeddings of {of['dim']} numbers, {of['input_mib']:,} MiB "
            f"of input.",
            Table(["way", "seconds", "time / ours", "peak MiB"], rows),
        )


def _data(record: Record) -> Iterator[Captioned]:
    exact = "equal to PIL's to the bit" if record["bit_equal_to_pil"] else "not equal to PIL's"
    yield Captioned(
        f"{record['images']:,} JPEGs of {record['mean_bytes']:,} bytes: {record['shown']}. Our "
        f"pixels are {exact}.",
        Table(
            ["speed of", "ratio"],
            [[name, f"{ratio:.2f}"] for name, ratio in record["ratios"].items()],
        ),
    )
    yield Captioned(
        "What the ratios are made of:",
        Table(
            ["way", "a second"],
            [[name, f"{value:,.0f}"] for name, value in record["per_second"].items()],
        ),
    )


def _backbones(record: Record) -> Iterator[Captioned]:
    models = record["models"]
    for batch in latency.batches(record):
        key = f"batch_{batch}"
        rows = [
            ["eager, time / R18's", *(f"{of['ways'][0][key]['ratio_to_r18']:.2f}" for of in models)]
        ]
        rows += [
            [way["way"], *(f"{of['ways'][k][key]['speed_up']:.2f}" for of in models)]
            for k, way in enumerate(models[0]["ways"])
            if k
        ]
        said = "One image" if batch == 1 else f"{batch} images at a time"
        yield Captioned(
            f"{said}: the time of eager float32 as a multiple of R18's, then how many times "
            f"faster other ways are.",
            Table(["way", *(of["backbone"].replace("_", " ") for of in models)], rows),
        )
    least = {
        way["way"]: min(of["ways"][k]["cosine_min"] for of in models)
        for k, way in enumerate(models[0]["ways"])
    }
    yield Captioned(
        "The smallest cosine between an embedding and that of eager float32, over all networks:",
        Table(["way", "cosine"], [[way, f"{cosine:.4f}"] for way, cosine in least.items()]),
    )


def _training(record: Record) -> Iterator[Captioned]:
    for of in record["models"]:
        rows = [
            [way["way"], f"{way['ratio_to_arcface_torch']:.2f}", f"{way['ratio_to_eager']:.2f}",
             f"{way['images_per_s']:,.1f}"]
            for way in of["ways"]
        ]  # fmt: skip
        yield Captioned(
            f"{of['backbone']}, batches of {of['batch']}, {record['identities']:,} identities:",
            Table(
                ["way", "speed / arcface_torch's", "speed / eager float32", "images a second"],
                rows,
            ),
        )


def _faces(record: Record) -> Iterator[Captioned]:
    n = record["processes"]
    columns = ["size", "one process, a second", f"{n} processes, a second", "all processes / one"]
    rows = [
        [
            f"{row['size']}\N{NO-BREAK SPACE}px",
            f"{row['one_process']:,.0f}",
            f"{row['all_cores']:,.0f}",
            f"{row['all_cores'] / row['one_process']:.2f} of {n}",
        ]
        for row in record["images_per_s"]
    ]
    shown = slice(None if n > 1 else 2)  # one process beside itself says nothing
    yield Captioned(
        f"Images of the training mix, strength {record['strength']:g}:",
        Table(columns[shown], [row[shown] for row in rows]),
    )
    if "casia_shaped_world" in record:
        world = record["casia_shaped_world"]
        yield Captioned(
            f"A world of {world['images']:,} images took {world['seconds']:.0f} s.",
            Table(
                ["images", "a second"],
                [[f"{world['images']:,}", f"{world['images'] / world['seconds']:,.0f}"]],
            ),
        )


BENCHMARKS: dict[str, Benchmark] = {
    "heads": Benchmark(
        "How much does a head cost, forward and backward, beside what no head can do without?",
        "pytorch-metric-learning's ArcFace, the textbook form, and a model of arcface_torch's.",
        "three bare matrix products into memory that is there already; in memory, the gradient of "
        "the class centres.",
        _heads,
    ),
    "heads_sharded": Benchmark(
        "What does it cost to share the class centres out, and what does it save?",
        "the blocked head on one rank, with the whole batch.",
        "half the time and half the memory, on two ranks with a core each and nothing to say to "
        "each other.",
        _heads_sharded,
    ),
    "training": Benchmark(
        "How many images a second go through network, head and optimiser?",
        "a model of arcface_torch's step: half precision, images plane by plane, a dense head, "
        "clipped gradients.",
        "not measured. It would be the network's products at the speed of one large matrix "
        "product.",
        _training,
    ),
    "backbones": Benchmark(
        "How fast are the nine networks, in eight ways of running them?",
        "eager PyTorch in float32, on the same network in the same process.",
        "the embeddings may not change: the smallest cosine to eager float32 stands below.",
        _backbones,
    ),
    "evaluation": Benchmark(
        "How long does it take to judge 6,000 pairs, and the 15.66 million of IJB-C?",
        "models of arcface_torch's loops and of the public IJB scripts with scikit-learn's ROC.",
        "equal numbers: the benchmark stops where ours and theirs differ.",
        _evaluation,
    ),
    "data": Benchmark(
        "How fast do records become batches?",
        "mxnet's reader, PIL, torchvision, and a data set that decodes one image at a time.",
        "equal pixels; and no more images a second than a training step can take are of any use.",
        _data,
    ),
    "faces": Benchmark(
        "How many faces can be rendered a second?",
        "there is none that we know of; one process beside all.",
        "as many times one process as there are processes.",
        _faces,
    ),
}
