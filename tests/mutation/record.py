"""The records of mutation runs: how a sample is drawn, counted and explained; see `measure`."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[2]
WHY = Path(__file__).with_name("survivors.yaml")
# Tests that start processes or take a minute or more. They would run for every survivor they reach.
SLOW = {
    "tests/metrics/test_bootstrap.py": [
        "test_intervals_over_identities_cover_the_truth_and_those_over_pairs_do_not"
    ],
    "tests/heads/test_heads.py": [
        "test_compiled_elementwise_parts_change_nothing",
        "test_gradients_are_exact",
    ],
    "tests/margins/test_registry.py": [
        "test_command_line_trains_with_a_loss_of_another_package",
        "test_package_that_cannot_be_imported_is_named",
    ],
    # `test_ranks_as_threads.py` repeats most of them without processes.
    "tests/heads/test_sharded.py": re.findall(
        r"^def (test_\w+)\(result\b",
        (ROOT / "tests/heads/test_sharded.py").read_text("utf-8"),
        re.M,
    ),
}
# The folders and files with the tests for each package's mutants.
PACKAGES = {
    "metrics": ["tests/metrics"],
    "margins": [
        "tests/margins",
        "tests/heads/test_heads.py",
        "tests/heads/test_against_library.py",
    ],
    "heads": ["tests/heads"],
}
NOT_MUTATED = (
    "the text of errors (`raise`) and descriptions (`return f`), module-level values, and "
    "decorated functions other "
    "than class methods"
)
NOTICED = ("killed", "timeout")


def drawn(names: Iterable[str], count: int, seed: int) -> set[str]:
    """A random sample of some mutants, which changes little when functions are added or removed."""
    return set(
        sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count]
    )


def estimate(
    record: dict[str, Any], mutants: int, seed: int, before: dict[str, Any]
) -> dict[str, Any]:
    """What a record says of its sample, and of all `mutants` of the package.

    Parameters
    ----------
    record : with the counts of the sample
    before : the package's earlier record; its ``first`` is kept if it is of the same sample
    """
    sample = {"of": mutants, "drawn": record["mutants"], "seed": seed}
    interval = binomtest(record["killed"], record["mutants"]).proportion_ci(method="wilson")
    keys = ("git_commit", "date", "mutants", "killed", "score")
    first = {
        **{key: record[key] for key in keys},
        "interval_95": [round(end, 4) for end in interval],
    }
    return {"sample": sample, "first": before["first"] if before.get("sample") == sample else first}


def summary(
    package: str, result: list[tuple[str, str, list[str]]], why: list[dict[str, str]]
) -> dict[str, Any]:
    """The record of a package: total counts, counts by module, and survivors with their reasons.

    Parameters
    ----------
    result : the mutants as returned by `verdicts`
    why : rules with the reasons of survivors, see ``survivors.yaml``
    """
    modules: dict[str, dict[str, int]] = {}
    survivors = []
    for name, status, lines in result:
        module, mangled = name.rsplit("__mutmut_", 1)[0].rsplit(
            ".", 1
        )  # x_function or xǁClassǁmethod
        function = ".".join(
            [module, *mangled.removeprefix("x").removeprefix("_").split("ǁ")]
        ).replace("..", ".")
        counts = modules.setdefault(function.split(".")[2], {"mutants": 0, "killed": 0})
        counts["mutants"] += 1
        if status in NOTICED:
            counts["killed"] += 1
            continue
        old, new = (
            " ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+"
        )
        change = {"function": function, "from": old, "to": new}
        survivors.append({**change, "status": status, "reason": reason(change, why)})
    mutants, killed = (
        sum(counts[key] for counts in modules.values()) for key in ("mutants", "killed")
    )
    return {
        "package": f"cdmllab.{package}",
        "tests": PACKAGES[package],
        "tests_left_out": [
            name
            for file, names in SLOW.items()
            if file.startswith(tuple(PACKAGES[package]))
            for name in names
        ],
        "not_mutated": NOT_MUTATED,
        "mutants": mutants,
        "killed": killed,
        "of_them_timed_out": sum(status == "timeout" for _, status, _ in result),
        "score": round(killed / mutants, 4),
        "modules": modules,
        "survivors": survivors,
    }


def reason(change: dict[str, str], why: list[dict[str, str]]) -> str:
    """The reason of the first rule that fits a survivor, empty if none does."""
    fitting = (
        rule["reason"]
        for rule in why
        if all(re.search(rule.get(key, ""), change[key]) for key in ("function", "from", "to"))
    )
    return next(fitting, "")


def explain(package: str) -> list[str]:
    """Look up the reasons in a record again and return the survivors without one."""
    path, why = ROOT / f"results/mutation/{package}.json", yaml.safe_load(WHY.read_text("utf-8"))
    record = json.loads(path.read_text("utf-8"))
    for one in record["survivors"]:
        one["reason"] = reason(one, why)
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return [
        f"{one['function']}: {one['from']!r} -> {one['to']!r}"
        for one in record["survivors"]
        if not one["reason"]
    ]
