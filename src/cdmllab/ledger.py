"""Whether the numbers in ``results/`` can be trusted: where each comes from, and whether the book cites only these."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdmllab import results
from cdmllab.errors import CdmlLabError
from cdmllab.files import read_json
from cdmllab.runs import git
from cdmllab.sweeps import recorded

SWEEPS, MUTATION = "sweeps", "mutation"
LEAST_KILLED = 0.9  # of the mutants
_NEEDED = ("command", "git_commit", "git_dirty", "versions")
_CITED = re.compile(r"""(?:results\.load|Recorded)\(\s*["']([^"']+)["']""")


def check(folder: Path | None = None, book: Path | None = None) -> tuple[dict[str, list[str]], list[str]]:
    """Look at every record, and at every place of the book that cites one.

    Parameters
    ----------
    folder : of the results; default the repository's
    book : folder of the book's sources; default the repository's

    Returns
    -------
    What was seen, by kind; and the faults, each in a sentence.
    """
    where = folder or results.folder()
    pages = book or where.parent / "book"
    seen: dict[str, list[str]] = {"records": [], "chapters": [], "sweeps": [], "sweeps not run": [], "citations": []}
    faults: list[str] = []
    for path in sorted(where.rglob("*.json")):
        name = path.relative_to(where).with_suffix("").as_posix()
        try:
            record = results.load(name, where)
            if path.parent.name == SWEEPS:
                seen["sweeps"].append(path.stem)
                faults += recorded.faults(path.stem, where)
            else:
                seen["records"].append(name)
                faults += [f"{name}: {fault}" for fault in _provenance(record)]
                if path.parent.name == MUTATION:
                    faults += [f"{name}: {fault}" for fault in _mutation(record)]
        except CdmlLabError as error:
            faults.append(str(error))
            continue
        faults += [f"{name}: commit {sha[:12]} is not in this history" for sha in _strange(record, where)]
    for path in sorted(where.rglob("*.ipynb")):
        name = path.relative_to(where).as_posix()
        seen["chapters"].append(name)
        try:
            told = read_json(path)["metadata"]["cdmllab"]["provenance"]
        except (CdmlLabError, KeyError, TypeError):
            faults.append(f"{name} does not say where it comes from: write it with `cdmllab book run`")
            continue
        faults += [f"{name}: {fault}" for fault in _provenance(told)]
        faults += [f"{name}: commit {sha[:12]} is not in this history" for sha in _strange(told, where)]
    for path in sorted((where / SWEEPS).glob("*.yaml")):
        if not path.with_suffix(".json").is_file():
            seen["sweeps not run"].append(path.stem)
    for page, name in _citations(pages):
        seen["citations"].append(f"{page.name} -> {name}")
        if not (where / f"{name}.json").is_file() and not (where / SWEEPS / f"{name}.json").is_file():
            faults.append(f"{page.name} cites {name}, and there is no such record")
    return seen, faults


def _provenance(record: dict[str, Any]) -> Iterator[str]:
    for key in _NEEDED:
        if key not in record:
            yield f"has no {key}"
    if record.get("git_dirty"):
        yield "was measured with changes that are not committed"


def _mutation(record: dict[str, Any]) -> Iterator[str]:
    """What is missing in a mutation score, see ``tests/mutation/measure.py``."""
    survivors = record["survivors"]
    if record["killed"] + len(survivors) != record["mutants"]:
        yield f"{record['killed']} killed and {len(survivors)} survivors are not {record['mutants']} mutants"
    if record["killed"] < LEAST_KILLED * record["mutants"]:
        yield f"the tests kill {record['killed']} of {record['mutants']} mutants, fewer than {LEAST_KILLED:.0%}"
    for one in survivors:
        if not one["reason"]:
            yield f"no reason is given why {one['function']} may read {one['to']!r}"


def _strange(record: Any, where: Path) -> list[str]:
    """Commits named anywhere in a record that the repository does not know; none where that cannot be told."""
    if git("rev-parse", "--is-shallow-repository", within=where) != "false":
        return []
    return [sha for sha in sorted(set(_commits(record))) if git("cat-file", "-t", sha, within=where) != "commit"]


def _commits(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "git_commit" and isinstance(inner, str):
                yield inner
            else:
                yield from _commits(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _commits(inner)


def _citations(pages: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted([*pages.glob("chapters/*.py"), *pages.glob("*.md")]):
        for name in _CITED.findall(page.read_text(encoding="utf-8")):
            yield page, name
