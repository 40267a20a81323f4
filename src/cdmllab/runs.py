"""A run is a folder anyone can read: its config, where it came from, and its metrics line
by line.
"""

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

from cdmllab._util import safe_yaml
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
_CONFIG_SHA256 = "config_sha256"
_LOOKED_AT: dict[
    Path, tuple[list[tuple[int, int, int]], str, dict[str, Any]]
] = {}  # by a run's folder
_NAME_BYTES = 120  # of a run's name within its folder's; file systems take 255 for the whole


def root() -> Path:
    """Where runs are kept: $CDMLLAB_RUNS, or ``runs`` in the current folder."""
    return Path(os.environ.get("CDMLLAB_RUNS", "runs"))


class Run:
    """One run's folder. `create` starts one, `open` reads one, `find` looks for one that is
    finished.

    The folder holds ``config.yaml`` (flattened), ``run.json`` (status, provenance, fingerprint of
    the data, the config once more as it was at the start) and ``metrics.jsonl`` (append only, one
    JSON object a line).
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
        utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = (within or root()) / f"{_as_file_name(name)}__s{seed}__{utc}"
        folder.mkdir(parents=True)
        run = cls(folder)
        text = yaml.safe_dump(dict(config), sort_keys=False)
        write_text(folder / CONFIG, text)
        kept = {"config": dict(config), _CONFIG_SHA256: hashlib.sha256(text.encode()).hexdigest()}
        run._write({"status": "running", "started": utc, **provenance(), **kept})
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Read a run.

        Raises
        ------
        ValueError : the folder is not a run, or its record cannot be read
        """
        run = cls(Path(folder))
        for name in (CONFIG, RECORD):
            if not (run.folder / name).is_file():
                raise ValueError(f"{folder} is not a run: it has no {name}")
        _ = run.status
        return run

    @classmethod
    def find(cls, config: Mapping[str, Any], *, within: Path | None = None) -> Self | None:
        """The newest finished run with exactly this config, if there is one."""
        return next(cls.finished(config, within=within), None)

    @classmethod
    def finished(
        cls,
        config: Mapping[str, Any],
        *,
        within: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Iterator[Self]:
        """Every finished run with exactly this config, newest first; `tell` as in `list`."""
        wanted = json.loads(json.dumps(dict(config)))
        for run in reversed(list(cls.list(within, tell))):
            if run._looked_at() == ("finished", wanted):
                yield run

    @classmethod
    def list(
        cls, within: Path | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[Self]:
        """Every run in a folder, oldest first.

        A folder whose ``run.json`` or ``config.yaml`` is not that of a run is passed over; `tell`
        is called with a sentence about it, by default `warnings.warn`.
        """
        folders = (within or root()).glob(f"*/{RECORD}")
        for record in sorted(folders, key=lambda path: path.parent.name.rsplit("__", 1)[-1]):
            run = cls(record.parent)
            try:
                run._looked_at()
            except (ValueError, OSError) as error:
                sentence = f"{run.folder} is passed over, it is not a run: {error}"
                tell(sentence) if tell else warnings.warn(sentence, stacklevel=2)
                continue
            yield run

    def _looked_at(self) -> tuple[str, dict[str, Any]]:
        """Status and config. They are read once for as long as the files do not change: a sweep
        asks every run for every task. A config as it was at the start is in the record too, where
        it is read in a hundredth of the time.
        """
        files = [(self.folder / name).stat() for name in (RECORD, CONFIG)]
        as_they_are = [(file.st_ino, file.st_size, file.st_mtime_ns) for file in files]
        if self.folder not in _LOOKED_AT or _LOOKED_AT[self.folder][0] != as_they_are:
            record, text = (
                self.record,
                read_bytes(self.folder / CONFIG, "readable YAML", at_most=safe_yaml.LARGEST),
            )
            kept, config = record.get("config"), None
            if isinstance(kept, dict) and hashlib.sha256(text).hexdigest() == record.get(
                _CONFIG_SHA256
            ):
                config = kept
            _LOOKED_AT[self.folder] = (
                as_they_are,
                self.status,
                self.config if config is None else config,
            )
        return _LOOKED_AT[self.folder][1:]

    @property
    def config(self) -> dict[str, Any]:
        """The flattened config the run was started with."""
        return read_yaml(self.folder / CONFIG)

    @property
    def record(self) -> dict[str, Any]:
        """Provenance and status.

        Raises
        ------
        DataError : the file is not a run's record
        """
        loaded = read_json(self.folder / RECORD)
        if not isinstance(loaded, dict) or not isinstance(loaded.get("status"), str):
            raise DataError(f"{self.folder / RECORD} has no status, as every run's record does")
        return loaded

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped`` (by its user) or ``failed``."""
        return str(self.record["status"])

    def log(self, **values: float) -> None:
        """Append one line of metrics."""
        append_line(self.folder / METRICS, json.dumps(values))

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """All metrics as columns; NaN where a line has no such value.

        Raises
        ------
        DataError : a line that is not JSON of names and numbers; a last line cut short by a kill is
            left out
        """
        rows = [row for row in self._rows(strict=True) if row is not None]
        keys = dict.fromkeys(key for row in rows for key in row)
        return {
            key: np.array([row.get(key, np.nan) for row in rows], dtype=np.float64) for key in keys
        }

    def drop_metrics_after(self, step: int) -> None:
        """Forget the lines of later steps, which a resumed run writes again; and a last line cut
        short by a kill.
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
        """The lines of the metrics; where one is something else an error, or None."""
        path = self.folder / METRICS
        lines = (
            read_bytes(path, "readable metrics", at_most=LARGEST_JOURNAL).split(b"\n")
            if path.exists()
            else []
        )
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line) if len(line) <= LONGEST_LINE else None
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict) and all(_is_number(value) for value in row.values()):
                yield row
            elif line and strict and number < len(lines):  # the last one has no end
                raise DataError(
                    f"{path}, line {number} is not JSON of names and numbers: "
                    f"{plain(line[:60], 80)}"
                )

    def restart(self) -> None:
        """Write into the record that the run goes on, with the code of today.

        Commits before it are kept in ``earlier_commits``; what was not citable stays so.
        """
        old, now = self.record, provenance()
        kept = {key: value for key, value in old.items() if key not in ("error", "ended")}
        before = old.get("git_commit", UNKNOWN)
        if before != now["git_commit"]:
            kept["earlier_commits"] = [*old.get("earlier_commits", []), before]
        if old.get("git_dirty"):
            now["git_dirty"] = True
        was_citable = old.get("citable", not is_unknown(before) and not old.get("git_dirty"))
        now["citable"] = now["citable"] and was_citable
        self._write({**kept, "status": "running", **now})

    def note(self, **facts: object) -> None:
        """Add to the record."""
        self._write({**self.record, **facts})

    def finish(self, status: str = "finished", **facts: object) -> None:
        """Write the end into the record."""
        ended = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.note(status=status, ended=ended, **facts)

    def _write(self, record: Mapping[str, Any]) -> None:
        write_text(self.folder / RECORD, json.dumps(record, indent=2) + "\n")


def _is_number(value: object) -> bool:
    """Whether JSON's value is a number that an array can hold, or none at all."""
    return (
        value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
    )


def _as_file_name(name: str) -> str:
    """A config's name as part of a folder's: no separators, no control characters, not too long."""
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", name).lstrip(".-") or "run"
    return plain.encode()[:_NAME_BYTES].decode(errors="ignore")
