"""A small file system that can be filled, and made read-only even for root."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cdmllab.cli import app

Invoke = Callable[..., Result]


class Disk:
    """A file system in memory, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        done = self._mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))
        if done.returncode:
            pytest.skip(
                f"a disk cannot be mounted here ({done.stderr.strip()}): these tests want root"
            )

    def resize(self, kib: int) -> None:
        """Set the disk's size in KiB."""
        assert self._mount("-o", f"remount,size={kib}k", str(self.folder)).returncode == 0

    def spare(self, kib: int) -> None:
        """Leave this many KiB free."""
        used = int(
            subprocess.run(
                ["du", "-sk", self.folder], capture_output=True, check=True
            ).stdout.split()[0]
        )
        self.resize(used + kib)

    def protect(self) -> None:
        """Make it read-only."""
        assert self._mount("-o", "remount,ro", str(self.folder)).returncode == 0

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)

    @staticmethod
    def _mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                ["mount", *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return subprocess.CompletedProcess(arguments, 1, "", "there is no mount command")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted = Disk(tmp_path / "disk")
    yield mounted
    mounted.close()


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Run a command in the test's folder and check its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(code: int, *arguments: object) -> Result:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, (done.exception, done.output)
        assert "Traceback" not in done.output
        return done

    return run


@pytest.fixture
def error_message(invoke: Invoke) -> Callable[..., str]:
    """Run a command that must fail; return its error message."""

    def run(*arguments: object) -> str:
        *_, last = invoke(1, *arguments).stderr.strip().splitlines()
        assert last.startswith("cdmllab: "), last
        return last.removeprefix("cdmllab: ")

    return run


@pytest.fixture
def succeed(invoke: Invoke) -> Callable[..., str]:
    """Run a command that must succeed; return its output."""
    return lambda *arguments: invoke(0, *arguments).output
