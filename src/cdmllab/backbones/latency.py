"""Latency of networks, from a record of `cdmllab bench backbones` or a short measurement."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cdmllab import backbones
from cdmllab.backbones import complexity


def measure(names: Sequence[str], rounds: int = 3) -> dict[str, Any]:
    """Measure the latency of one image, in eager float32.

    The result has the form of the benchmark's record, without its other ways of running.

    Parameters
    ----------
    names : backbones to measure; r18, the unit of the ratios, is always measured as well
    rounds : number of rounds, of which the median is reported. Each round runs every network once,
        so that other load on the machine affects all networks alike
    """
    # r18 comes first, and once, even if it is among the names.
    nets = {name: backbones.create(name).eval() for name in dict.fromkeys(["r18", *names])}
    seconds: dict[str, list[float]] = {name: [] for name in nets}
    with torch.inference_mode():
        for round_ in range(rounds + 1):
            for name, net in nets.items():
                x = torch.zeros(1, net.channels, net.size, net.size)
                start = time.perf_counter()
                net(x)
                if round_:  # the first round is the warm-up
                    seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "device": "this machine, measured just now",
        "models": [
            {
                "backbone": name,
                "gmacs": complexity.cost(nets[name]).gmacs,
                "ways": [
                    {
                        "way": "eager",
                        "batch_1": {
                            "ms": 1e3 * median[name],
                            "speed_up": 1.0,
                            "ratio_to_r18": median[name] / median["r18"],
                        },
                    }
                ],
            }
            for name in names
        ],
    }


def by_way(
    record: Mapping[str, Any], key: str = "ratio_to_r18", batch: int = 1
) -> dict[str, dict[str, float]]:
    """One value of a record for each way of running and each backbone.

    Parameters
    ----------
    record : from the benchmark, or from `measure`
    key : ``"ms"`` for the full batch, ``"speed_up"`` over eager float32, or ``"ratio_to_r18"``
    batch : batch size
    """
    table: dict[str, dict[str, float]] = {}
    for model in record["models"]:
        for way in model["ways"]:
            table.setdefault(way["way"], {})[model["backbone"]] = way[f"batch_{batch}"][key]
    return table


def milliseconds(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Latency of one image in milliseconds: each ratio to R18, times the median of R18.

    The networks of a record are measured one after another, each together with R18. A network's own
    milliseconds may be from a time when the machine was slower than for another network; the ratio
    is not affected.
    """
    every = [way["batch_1"] for model in record["models"] for way in model["ways"]]
    # Every network was measured together with R18, so ms / ratio is one measurement of R18.
    r18 = statistics.median(one["ms"] / one["ratio_to_r18"] for one in every)
    return {
        way: {name: r18 * ratio for name, ratio in ratios.items()}
        for way, ratios in by_way(record).items()
    }


def batches(record: Mapping[str, Any]) -> list[int]:
    """The batch sizes in a record."""
    way = record["models"][0]["ways"][0]
    return sorted(int(key.removeprefix("batch_")) for key in way if key.startswith("batch_"))


def largest_within(
    times: Mapping[str, float], products: Mapping[str, float], limit: float
) -> str | None:
    """The network with the most MACs that stays within `limit`; None if all are slower.

    Parameters
    ----------
    times : time of each network
    products : multiply-accumulates (MACs) of each network
    limit : in the unit of `times`
    """
    fitting = [name for name, value in times.items() if value <= limit]
    return max(fitting, key=products.__getitem__, default=None)
