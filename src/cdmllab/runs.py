"""A run is a folder anyone can read: its config, where it came from, and its metrics line by line."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from cdmllab.files import append_line, read_json, read_yaml, write_text

CONFIG, RECORD, METRICS = "config.yaml", "run.json", "metrics.jsonl"
# Written by measurements one after the other: they do not change what the next one measures.
_NOT_CODE = (":(exclude,top)results/benchmarks",)


def root() -> Path:
    """Where runs are kept: $CDMLLAB_RUNS, or ``runs`` in the current folder."""
    return Path(os.environ.get("CDMLLAB_RUNS", "runs"))


class Run:
    """One run's folder. `create` starts one, `open` reads one, `find` looks for one that is finished.

    The folder holds ``config.yaml`` (flattened), ``run.json`` (git commit, versions, device, status) and
    ``metrics.jsonl`` (append only, one JSON object a line).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({self.folder.name}, {self.status})"

    @classmethod
    def create(cls, name: str, seed: int, config: Mapping[str, Any], *, within: Path | None = None) -> Self:
        """Start a run called ``<name>__s<seed>__<utc>`` in `within` (default `root()`)."""
        utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = (within or root()) / f"{name.replace('/', '-')}__s{seed}__{utc}"
        folder.mkdir(parents=True)
        run = cls(folder)
        write_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
        run._write({"status": "running", "started": utc, **provenance()})
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
        _ = run.record
        return run

    @classmethod
    def find(cls, config: Mapping[str, Any], *, within: Path | None = None) -> Self | None:
        """The newest finished run with exactly this config, if there is one."""
        wanted = json.loads(json.dumps(dict(config)))
        for run in reversed(list(cls.list(within))):
            if run.status == "finished" and run.config == wanted:
                return run
        return None

    @classmethod
    def list(cls, within: Path | None = None) -> Iterator[Self]:
        """Every run in a folder, oldest first."""
        folders = (within or root()).glob(f"*/{RECORD}")
        for record in sorted(folders, key=lambda path: path.parent.name.rsplit("__", 1)[-1]):
            yield cls(record.parent)

    @property
    def config(self) -> dict[str, Any]:
        """The flattened config the run was started with."""
        return read_yaml(self.folder / CONFIG)

    @property
    def record(self) -> dict[str, Any]:
        """Provenance and status."""
        loaded: dict[str, Any] = read_json(self.folder / RECORD)
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
        ValueError : a line that is not JSON, naming it; a last line cut short by a kill is left out
        """
        path = self.folder / METRICS
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number == text.count("\n") + 1:
                    break
                raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: np.array([row.get(key, np.nan) for row in rows], dtype=np.float64) for key in keys}

    def drop_metrics_after(self, step: int) -> None:
        """Forget the lines of later steps, which a resumed run writes again; and a last line cut short by a kill."""
        path = self.folder / METRICS
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line).get("step", 0) <= step:
                    kept.append(line)
            except json.JSONDecodeError:
                continue
        write_text(path, "".join(f"{line}\n" for line in kept))

    def restart(self) -> None:
        """Write into the record that the run goes on, with this code; commits before it in ``earlier_commits``."""
        old, now = self.record, provenance()
        kept = {key: value for key, value in old.items() if key not in ("error", "ended")}
        if old["git_commit"] != now["git_commit"]:
            kept["earlier_commits"] = [*old.get("earlier_commits", []), old["git_commit"]]
        now["git_dirty"] = bool(old["git_dirty"]) or now["git_dirty"]
        self._write({**kept, "status": "running", **now})

    def finish(self, status: str = "finished", **facts: object) -> None:
        """Write the end into the record."""
        ended = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._write({**self.record, "status": status, "ended": ended, **facts})

    def _write(self, record: Mapping[str, Any]) -> None:
        write_text(self.folder / RECORD, json.dumps(record, indent=2) + "\n")


def provenance() -> dict[str, Any]:
    """Where a result comes from: git commit (and whether files were changed since), versions, machine, processor.

    Code that was copied without its git folder names the commit it was copied from in $CDMLLAB_COMMIT; that is taken
    on trust.
    """
    versions = {"python": platform.python_version()}
    for package in ("cdmllab", "torch", "torchvision", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "git_commit": git("rev-parse", "HEAD") or os.environ.get("CDMLLAB_COMMIT"),
        "git_dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", ":/", *_NOT_CODE)),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
    }


def processor() -> str:
    """The CPU's name, and how many there are."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else f"{platform.processor() or 'unknown'} x {os.cpu_count()}"


def git(*arguments: str, within: Path | None = None) -> str | None:
    """Output of a git command in a folder, by default the package's own; None outside a checkout or on an error."""
    where = within or Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
