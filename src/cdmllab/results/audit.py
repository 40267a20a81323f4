"""Audit ``results/``: where each number comes from, and whether the book cites only these."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdmllab import results
from cdmllab._util.files import read_json, read_text
from cdmllab.errors import LONGEST_OWN, CdmlLabError, plain, reading
from cdmllab.provenance import git, is_unknown
from cdmllab.results import sweeps

SWEEPS, MUTATION = "sweeps", "mutation"
_MOST_COMMITS = 1000  # named in a record
LEAST_KILLED = 0.9  # of the mutants
_NEEDED = ("command", "git_commit", "git_dirty", "versions")
_SHA = re.compile(r"[0-9a-f]{7,64}")  # git might take anything else for an option
# As chapters cite: results.load("...") or Recorded("...").
_CITED = re.compile(r"""(?:results\.load|Recorded)\(\s*["']([^"']+)["']""")


def check(
    folder: Path | None = None, book: Path | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    """Check every record, and every place in the book that cites one.

    Parameters
    ----------
    folder : of the results; default the repository's
    book : folder of the book's sources; default the repository's

    Returns
    -------
    What was checked, by kind; and the faults, a sentence each.
    """
    where = folder or results.folder()
    pages = book or where.parent / "book"
    kinds = (
        "records",
        "chapters",
        "sweeps",
        "sweeps not run",
        "citations",
        "commits in this history",
    )
    seen: dict[str, list[str]] = {kind: [] for kind in kinds}
    faults: list[str] = []
    history = _History(where)
    # Records: sweeps are checked against their specs, others for their provenance.
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
                faults += [f"{name}: {fault}" for fault in history.faults(record)]
        except CdmlLabError as error:
            faults.append(str(error))
    # Chapters that were run for the published book carry their provenance in the notebook.
    for path in sorted(where.rglob("*.ipynb")):
        name = path.relative_to(where).as_posix()
        seen["chapters"].append(name)
        try:
            with reading(path, "a notebook with its provenance"):
                provenance = dict(read_json(path)["metadata"]["cdmllab"]["provenance"])
        except CdmlLabError:
            faults.append(f"{name} has no provenance: write it with `cdmllab book run`")
            continue
        faults += [f"{name}: {fault}" for fault in _provenance(provenance)]
        faults += [f"{name}: {fault}" for fault in history.faults(provenance)]
    seen["commits in this history"] = history.known
    # A spec without a record is not a fault, but is listed.
    for path in sorted((where / SWEEPS).glob("*.yaml")):
        if not path.with_suffix(".json").is_file():
            seen["sweeps not run"].append(path.stem)
    # Every record that the book cites must exist.
    for page, name in _citations(pages):
        seen["citations"].append(f"{page.name} -> {name}")
        if (
            not (where / f"{name}.json").is_file()
            and not (where / SWEEPS / f"{name}.json").is_file()
        ):
            faults.append(f"{page.name} cites {name}, but there is no such record")
    # Names and values of a record may be of any length, and contain line breaks.
    return (
        {kind: [plain(name, 200) for name in names] for kind, names in seen.items()},
        [plain(fault, LONGEST_OWN) for fault in faults],
    )


def _provenance(record: dict[str, Any]) -> Iterator[str]:
    for key in _NEEDED:
        if key not in record:
            yield f"has no {key}"
    # Of a commit only the most serious fault is reported.
    if "git_commit" in record and is_unknown(record["git_commit"]):
        yield "has no known commit: measure again in a checkout that git can read"
    elif record.get("git_dirty"):
        yield "was measured with uncommitted changes"
    elif record.get("citable") is False:
        yield "is marked as not citable"


class _History:
    """The repository's commits; without a complete history nothing is reported as missing."""

    def __init__(self, where: Path) -> None:
        self._where = where
        # In a shallow clone an older commit is absent without being wrong.
        self._complete = git("rev-parse", "--is-shallow-repository", within=where) == "false"
        self._known: dict[str, bool] = {}

    @property
    def known(self) -> list[str]:
        """The commits that were looked up and exist, abbreviated."""
        return sorted(sha[:12] for sha, exists in self._known.items() if exists)

    def faults(self, record: Any) -> list[str]:
        """A sentence for each commit named in a record that the repository does not have."""
        if not self._complete:
            return []
        named = sorted(set(_commits(record)))
        # Each look-up is a process.
        if len(named) > _MOST_COMMITS:
            return [f"names {len(named):,} commits; at most {_MOST_COMMITS:,} are looked up"]
        for sha in named:
            if sha not in self._known:
                self._known[sha] = (
                    # A tree or a blob may have the same digits, so ask git for the type.
                    bool(_SHA.fullmatch(sha))
                    and git("cat-file", "-t", sha, within=self._where) == "commit"
                )
        return [
            f"commit {sha[:12]} is not in this history" for sha in named if not self._known[sha]
        ]


def _mutation(record: dict[str, Any]) -> Iterator[str]:
    """The faults of a mutation score, see ``tests/mutation/measure.py``."""
    survivors = record["survivors"]
    if record["killed"] + len(survivors) != record["mutants"]:
        yield (
            f"{record['killed']} killed and {len(survivors)} surviving mutants do not add up to "
            f"{record['mutants']}"
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
