"""Run folders that anyone can read: the config, its provenance, and metrics as JSON lines."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from cdmllab._util import links, run_record, safe_yaml
from cdmllab._util.files import (
    LARGEST_JOURNAL,
    LONGEST_LINE,
    append_line,
    read_bytes,
    read_json,
    read_yaml,
    write_text,
)
from cdmllab.errors import DataError, plain
from cdmllab.provenance import UNKNOWN, git, is_unknown, processor, provenance

__all__ = ["CONFIG", "METRICS", "RECORD", "Run", "git", "processor", "provenance", "root"]

CONFIG, RECORD, METRICS = "config.yaml", "run.json", "metrics.jsonl"
FOLDER = "a run's folder"
_CONFIG_SHA256 = "config_sha256"
# By folder: the state of its files when they were read, the status, and the config.
_CACHE: dict[Path, tuple[list[tuple[int, int, int]], str, dict[str, Any]]] = {}
_MOST_METRICS = 50_000_000  # values in the table of a run's metrics, 400 MB
_NAME_BYTES = 120  # of the config's name in a folder's name, which file systems limit to 255


def root() -> Path:
    """Where runs are kept: $CDMLLAB_RUNS, or ``runs`` in the current folder."""
    return Path(os.environ.get("CDMLLAB_RUNS", "runs"))


class Run:
    """The folder of one run: `create` starts one, `open` reads one, `find` finds a finished one.

    It contains ``config.yaml`` (flattened), ``run.json`` (status, provenance, fingerprint of the
    data, and a copy of the config as it was at the start) and ``metrics.jsonl`` (append-only, one
    JSON object per line).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({self.folder.name}, {self.status})"

    @classmethod
    def create(
        cls, name: str, seed: int, config: Mapping[str, Any], *, within: Path | None = None
    ) -> Self:
        """Start a run called ``<name>__s<seed>__<utc>`` in `within` (default `root()`)."""
        # With microseconds, so that two runs of one config get two folders.
        utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = (within or root()) / f"{_as_file_name(name)}__s{seed}__{utc}"
        folder.mkdir(parents=True)
        run = cls(folder)
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_text(folder / CONFIG, text)
        # A copy of the config, and a hash that shows whether the file was edited.
        kept = {"config": dict(config), _CONFIG_SHA256: hashlib.sha256(text.encode()).hexdigest()}
        run._write({"status": "running", "started": utc, **provenance(), **kept})
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Read a run.

        Raises
        ------
        ValueError : the folder is not a run, its record cannot be read, or it contains a link
        """
        run = cls(Path(folder))
        if run.folder.is_dir():
            links.refuse(run.folder, FOLDER)
        for name in (CONFIG, RECORD):
            if not (run.folder / name).is_file():
                raise ValueError(f"{folder} is not a run: it has no {name}")
        # Raises an error if the record cannot be read.
        _ = run.status
        return run

    @classmethod
    def find(cls, config: Mapping[str, Any], *, within: Path | None = None) -> Self | None:
        """The newest finished run with exactly this config, or None."""
        return next(cls.finished(config, within=within), None)

    @classmethod
    def finished(
        cls,
        config: Mapping[str, Any],
        *,
        within: Path | None = None,
        report: Callable[[str], None] | None = None,
    ) -> Iterator[Self]:
        """Every finished run with exactly this config, newest first; `report` as in `list`."""
        expected = json.loads(json.dumps(dict(config)))  # tuples become lists, as in the record
        for run in reversed(list(cls.list(within, report))):
            if run._status_and_config() == ("finished", expected):
                yield run

    @classmethod
    def list(
        cls, within: Path | None = None, report: Callable[[str], None] | None = None
    ) -> Iterator[Self]:
        """Every run in a folder, oldest first.

        A folder whose ``run.json`` or ``config.yaml`` is not that of a run is skipped; `report` is
        called with a message about it, by default `warnings.warn`.
        """
        folders = (within or root()).glob(f"*/{RECORD}")
        # In the order of the times at the end of their names.
        for record in sorted(folders, key=lambda path: path.parent.name.rsplit("__", 1)[-1]):
            run = cls(record.parent)
            try:
                run._status_and_config()
            except (ValueError, OSError) as error:
                message = f"skipped {run.folder}, which is not a run: {error}"
                report(message) if report else warnings.warn(message, stacklevel=2)
                continue
            yield run

    def has(self, config: Mapping[str, Any]) -> bool:
        """Whether the run was started with exactly this config; reads it only if it has changed."""
        expected: dict[str, Any] = json.loads(json.dumps(dict(config)))  # as in the record
        return self._status_and_config()[1] == expected

    def _status_and_config(self) -> tuple[str, dict[str, Any]]:
        """Status and config, cached until the files change.

        A sweep reads every run for each of its tasks. The record also has a copy of the config,
        because JSON is read about a hundred times faster than YAML; it is used as long as the
        hash shows that ``config.yaml`` has not been edited.
        """
        files = [(self.folder / name).stat() for name in (RECORD, CONFIG)]
        # A changed file has another size or time, or, if one was renamed over it, another inode.
        state = [(file.st_ino, file.st_size, file.st_mtime_ns) for file in files]
        if self.folder not in _CACHE or _CACHE[self.folder][0] != state:
            links.refuse(self.folder, FOLDER)
            record, text = (
                self.record,
                read_bytes(self.folder / CONFIG, "readable YAML", at_most=safe_yaml.LARGEST),
            )
            kept, config = record.get("config"), None
            if isinstance(kept, dict) and hashlib.sha256(text).hexdigest() == record.get(
                _CONFIG_SHA256
            ):
                config = kept
            _CACHE[self.folder] = (
                state,
                self.status,
                self.config if config is None else config,
            )
        return _CACHE[self.folder][1:]

    @property
    def config(self) -> dict[str, Any]:
        """The flattened config that the run was started with."""
        return read_yaml(self.folder / CONFIG)

    @property
    def record(self) -> dict[str, Any]:
        """Provenance and status.

        Raises
        ------
        DataError : the file is not a run's record; names the key
        """
        path = self.folder / RECORD
        return run_record.checked(read_json(path, at_most=run_record.LARGEST), path)

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped`` (by its user) or ``failed``."""
        return str(self.record["status"])

    def log(self, **values: float) -> None:
        """Append one line of metrics."""
        append_line(self.folder / METRICS, json.dumps(values))

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """All metrics as columns, with NaN where a line lacks the value.

        Raises
        ------
        DataError : a line is not a JSON object of names and numbers; an incomplete last line, which
            a killed process leaves, is ignored instead. Or there are too many names for a table
        """
        rows = [row for row in self._rows(strict=True) if row is not None]
        # All columns, in the order in which they first occur.
        keys = dict.fromkeys(key for row in rows for key in row)
        # Lines that have few names in common would make a table far larger than the file.
        if len(keys) * len(rows) > _MOST_METRICS:
            raise DataError(
                f"{self.folder / METRICS} has {len(rows):,} lines with {len(keys):,} different "
                f"names; a table of at most {_MOST_METRICS:,} values is allowed"
            )
        return {
            key: np.array([row.get(key, np.nan) for row in rows], dtype=np.float64) for key in keys
        }

    def drop_metrics_after(self, step: int) -> None:
        """Remove the lines of later steps, which a resumed run writes again.

        An incomplete last line, which a killed process leaves, is removed too.
        """
        if not (self.folder / METRICS).exists():
            return
        kept = [
            row
            for row in self._rows(strict=False)
            if row is not None and (row.get("step") or 0) <= step
        ]
        write_text(self.folder / METRICS, "".join(f"{json.dumps(row)}\n" for row in kept))

    def _rows(self, *, strict: bool) -> Iterator[dict[str, float] | None]:
        """The lines of the metrics; a malformed one is an error if `strict`, else None."""
        path = self.folder / METRICS
        lines = (
            read_bytes(path, "readable metrics", at_most=LARGEST_JOURNAL).split(b"\n")
            if path.exists()
            else []
        )
        for number, line in enumerate(lines, start=1):
            try:
                # A very long line is damage, and parsing it would cost memory.
                row = json.loads(line) if len(line) <= LONGEST_LINE else None
            except (ValueError, RecursionError):  # not JSON, or too deeply nested
                row = None
            if isinstance(row, dict) and all(_is_number(value) for value in row.values()):
                yield row
            elif line and strict and number < len(lines):  # the last one may be incomplete
                raise DataError(
                    f"{path}, line {number} is not a JSON object of names and numbers: "
                    f"{plain(line[:60], 80)}"
                )

    def restart(self) -> None:
        """Record that the run continues, with the code as it is now.

        Earlier commits are kept in ``earlier_commits``; a run that was not citable stays so.
        """
        old, now = self.record, provenance()
        kept = {key: value for key, value in old.items() if key not in ("error", "ended")}
        before = old.get("git_commit", UNKNOWN)
        if before != now["git_commit"]:
            kept["earlier_commits"] = [*old.get("earlier_commits", []), before]
        # Uncommitted changes in one part of a run count for all of it.
        if old.get("git_dirty"):
            now["git_dirty"] = True
        # Earlier versions did not record `citable`: judge by the commit.
        was_citable = old.get("citable", not is_unknown(before) and not old.get("git_dirty"))
        now["citable"] = now["citable"] and was_citable
        self._write({**kept, "status": "running", **now})

    def note(self, **facts: object) -> None:
        """Add facts to the record."""
        self._write({**self.record, **facts})

    def finish(self, status: str = "finished", **facts: object) -> None:
        """Record the final status and the time."""
        ended = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.note(status=status, ended=ended, **facts)

    def _write(self, record: Mapping[str, Any]) -> None:
        write_text(self.folder / RECORD, json.dumps(record, indent=2) + "\n")


def _is_number(value: object) -> bool:
    """Whether a JSON value is null or a number that fits into an array."""
    return (
        value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
    )


def _as_file_name(name: str) -> str:
    """A config's name made safe for a folder's: no separators or control characters, and short."""
    # Control characters, separators and what Windows forbids become a dash. A leading dot would
    # hide the folder, a leading dash look like an option.
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", name).lstrip(".-") or "run"
    # Cut by bytes, and drop a character that was cut in two.
    return plain.encode()[:_NAME_BYTES].decode(errors="ignore")
