"""Whether the numbers in ``results/`` can be trusted: where each comes from, and whether the book
cites only these.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdmllab import results
from cdmllab.errors import CdmlLabError, reading
from cdmllab._util.files import read_json, read_text
from cdmllab.provenance import git, is_unknown
from cdmllab.results import sweeps

SWEEPS, MUTATION = "sweeps", "mutation"
LEAST_KILLED = 0.9  # of the mutants
_NEEDED = ("command", "git_commit", "git_dirty", "versions")
_SHA = re.compile(r"[0-9a-f]{7,64}")  # anything else git might take for an option
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
    kinds = ("records", "chapters", "sweeps", "sweeps not run", "citations", "commits in this "
                                                                             "history")
    seen: dict[str, list[str]] = {kind: [] for kind in kinds}
    faults: list[str] = []
    history = _History(where)
    for path in sorted(where.rglob("*.json")):
        name = path.relative_to(where).with_suffix("").as_posix()
        try:
            with reading(path, "a readable record"):
                record = results.load(name, where)
                if path.parent.name == SWEEPS:
                    seen["sweeps"].append(path.stem)
                    faults += sweeps.faults(path.stem, where)
                else:
                    seen["records"].append(name)
                    faults += [f"{name}: {fault}" for fault in _provenance(record)]
                    if path.parent.name == MUTATION:
                        faults += [f"{name}: {fault}" for fault in _mutation(record)]
        except CdmlLabError as error:
            faults.append(str(error))
            continue
        faults += [f"{name}: {fault}" for fault in history.faults(record)]
    for path in sorted(where.rglob("*.ipynb")):
        name = path.relative_to(where).as_posix()
        seen["chapters"].append(name)
        try:
            with reading(path, "a notebook with its provenance"):
                told = dict(read_json(path)["metadata"]["cdmllab"]["provenance"])
        except CdmlLabError:
            faults.append(f"{name} does not say where it comes from: write it with `cdmllab book "
                          f"run`")
            continue
        faults += [f"{name}: {fault}" for fault in _provenance(told)]
        faults += [f"{name}: {fault}" for fault in history.faults(told)]
    seen["commits in this history"] = history.known
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
    if "git_commit" in record and is_unknown(record["git_commit"]):
        yield "does not know its commit: measure again in a checkout that git can read"
    elif record.get("git_dirty"):
        yield "was measured with changes that are not committed"
    elif record.get("citable") is False:
        yield "is marked as not citable"


class _History:
    """The repository's commits; where git cannot be asked, none is known and none is missed."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self._whole = git("rev-parse", "--is-shallow-repository", within=where) == "false"
        self._known: dict[str, bool] = {}

    @property
    def known(self) -> list[str]:
        """Those that were asked about and are there, shortened."""
        return sorted(sha[:12] for sha, there in self._known.items() if there)

    def faults(self, record: Any) -> list[str]:
        """A sentence for each commit named in a record that the repository does not have."""
        if not self._whole:
            return []
        named = sorted(set(_commits(record)))
        for sha in named:
            if sha not in self._known:
                self._known[sha] = (
                    bool(_SHA.fullmatch(sha)) and git("cat-file", "-t", sha, within=self._where) == "commit"
                )
        return [f"commit {sha[:12]} is not in this "
                f"history" for sha in named if not self._known[sha]]


def _mutation(record: dict[str, Any]) -> Iterator[str]:
    """What is missing in a mutation score, see ``tests/mutation/measure.py``."""
    survivors = record["survivors"]
    if record["killed"] + len(survivors) != record["mutants"]:
        yield (
            f"{record['killed']} killed and {len(survivors)} survivors are not "
            f"{record['mutants']} mutants"
        )
    if record["killed"] < LEAST_KILLED * record["mutants"]:
        yield (
            f"the tests kill {record['killed']} of {record['mutants']} mutants, fewer than "
            f"{LEAST_KILLED:.0%}"
        )
    for one in survivors:
        if not one["reason"]:
            yield f"no reason is given why {one['function']} may read {one['to']!r}"


def _commits(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "git_commit" and isinstance(inner, str) and not is_unknown(inner):
                yield inner
            else:
                yield from _commits(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _commits(inner)


def _citations(pages: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted([*pages.glob("chapters/*.py"), *pages.glob("*.md")]):
        for name in _CITED.findall(read_text(page, "a readable page")):
            yield page, name
