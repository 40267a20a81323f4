"""How long networks take: the kept measurements of `cdmllab bench backbones`, read, or a short one
made here.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cdmllab import backbones
from cdmllab.backbones import complexity


def measure(names: Sequence[str], rounds: int = 3) -> dict[str, Any]:
    """One image in eager float32, in the form of the benchmark's record but without its other
    ways.

    Parameters
    ----------
    names : backbones; r18, the unit, is measured with them
    rounds : each runs every network once, so that a noisy spell hits all alike; the median counts
    """
    nets = {name: backbones.create(name).eval() for name in dict.fromkeys(["r18", *names])}
    seconds: dict[str, list[float]] = {name: [] for name in nets}
    with torch.inference_mode():
        for round_ in range(rounds + 1):
            for name, net in nets.items():
                x = torch.zeros(1, net.channels, net.size, net.size)
                start = time.perf_counter()
                net(x)
                if round_:  # the first is the warm-up
                    seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "device": "this machine, just now",
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
    """One number of a record for each way of running, for each backbone.

    Parameters
    ----------
    record : of the benchmark, or of `measure`
    key : ``"ms"`` for the whole batch, ``"speed_up"`` over eager float32, or ``"ratio_to_r18"``
    """
    table: dict[str, dict[str, float]] = {}
    for model in record["models"]:
        for way in model["ways"]:
            table.setdefault(way["way"], {})[model["backbone"]] = way[f"batch_{batch}"][key]
    return table


def milliseconds(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Time of one image, as of one spell of the machine: every ratio to R18, times the record's
    median R18.

    The networks of a record are measured one after another, each beside R18, and a network's own
    milliseconds may be of a slower spell than another's.
    """
    every = [way["batch_1"] for model in record["models"] for way in model["ways"]]
    r18 = statistics.median(one["ms"] / one["ratio_to_r18"] for one in every)
    return {
        way: {name: r18 * ratio for name, ratio in ratios.items()}
        for way, ratios in by_way(record).items()
    }


def batches(record: Mapping[str, Any]) -> list[int]:
    """The batch sizes that a record holds."""
    way = record["models"][0]["ways"][0]
    return sorted(int(key.removeprefix("batch_")) for key in way if key.startswith("batch_"))


def largest_within(
    times: Mapping[str, float], products: Mapping[str, float], limit: float
) -> str | None:
    """The network with most products among those that take no longer than `limit`; None if all are
    slower.
    """
    fitting = [name for name, value in times.items() if value <= limit]
    return max(fitting, key=products.__getitem__, default=None)
