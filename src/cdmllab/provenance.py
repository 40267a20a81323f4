"""Where a result comes from: the commit of this package, versions, and the machine."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
# Benchmark records are written one after another; they must not make the next one "dirty".
_NOT_CODE = (":(exclude,top)results/benchmarks",)
# Git sets these inside hooks, where they would point every call at the hook's own repository.
_OF_A_HOOK = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
    *("GIT_COMMON_DIR", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"),
)


def provenance() -> dict[str, Any]:
    """The commit and whether the code differs from it, versions, machine and processor.

    Git is trusted only if it tracks this file. In another project's repository, in a checkout that
    git refuses to read because of its owner, and in a copy without ``.git``, the commit is
    ``"unknown"`` and ``git_dirty`` is None. There $CDMLLAB_COMMIT may name the commit that was
    copied, which is not verified. ``citable`` means that the commit is known and the code unchanged
    since.
    """
    versions = {"python": platform.python_version()}
    for package in ("cdmllab", "torch", "torchvision", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    commit, dirty = _code()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "citable": commit != UNKNOWN and dirty is False,
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
    }


def is_unknown(commit: object) -> bool:
    """Whether a record has no usable commit; earlier versions wrote None, and others anything."""
    return not isinstance(commit, str) or commit in ("", UNKNOWN)


def processor() -> str:
    """The name of the CPU and the number of its logical cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0]} x {len(names)}"
        if names
        else f"{platform.processor() or UNKNOWN} x {os.cpu_count()}"
    )


def git(*arguments: str, within: Path | None = None) -> str | None:
    """The output of a git command in a folder (default: the package's own); None if it fails."""
    where = within or Path(__file__).resolve().parent
    environment = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            env=environment,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def tracks(path: Path) -> bool:
    """Whether git works here and tracks a file."""
    return git("ls-files", "--error-unmatch", "--", path.name, within=path.parent) is not None


def _code() -> tuple[str, bool | None]:
    """The commit of the running code, and whether the code differs from it (None if unknown)."""
    if tracks(Path(__file__).resolve()):
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *_NOT_CODE)
        if head and changed is not None:
            return head, bool(changed)
    named = os.environ.get("CDMLLAB_COMMIT")
    return (named, False) if named else (UNKNOWN, None)
