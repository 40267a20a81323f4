"""Shared parts of the scripts in ``data_scripts/``.

A script finds and checks its inputs, creates missing outputs, and counts what they contain.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import sha256, write_text
from cdmllab._util.processes import print_anything
from cdmllab.data import archives, fetching, paths, registry
from cdmllab.data.registry import DataSet
from cdmllab.errors import CdmlLabError, DataError


class Job:
    """One run of a script.

    Attributes
    ----------
    out : the folder for outputs
    dry_run : only report what would be done
    workers : threads
    fetch : whether the script may download missing files
    """

    def __init__(
        self,
        data_set: DataSet,
        out: Path,
        *,
        dry_run: bool = False,
        workers: int = 1,
        other_counts: bool = False,
        fetch: bool = False,
    ) -> None:
        self.data_set, self.out, self.dry_run = data_set, out, dry_run
        self.workers, self.fetch = workers, fetch
        self._other_counts = other_counts
        self._missing = False

    def report(self, line: str) -> None:
        """Print one line."""
        print(line, flush=True)

    def need(self, role: str) -> Path:
        """The first existing file or folder of those that the registry lists for a role.

        In a dry run a missing file is only reported, and its path is returned nevertheless.

        Raises
        ------
        DataError : none exists; the message says where to get it
        """
        return self._need(self.data_set.places(role))

    def have(self, role: str) -> Path | None:
        """Like `need`, but returns None if none exists."""
        return self.find(*self.data_set.places(role))

    def find(self, *names: str) -> Path | None:
        """The first existing one of some files or folders, in the output or the data folders."""
        outputs = (self.out / name for name in names)
        return next((path for path in outputs if path.exists()), None) or paths.find(*names)

    def find_pack(self) -> Path | None:
        """The ``train.rec`` of InsightFace's pack of the same data, unpacked if it is a zip."""
        pack = str(self.data_set.pack)
        # The folder first, then the zip as it is downloaded.
        records = self.find(f"{pack}/train.rec")
        if records is None and self.find(f"{pack}.zip") is not None:
            return self._folder(pack, f"{pack}.zip") / "train.rec"
        return records

    def download(self) -> None:
        """Download the files of this set that have a mirror and are in no data folder.

        Raises
        ------
        DataError : no mirror has a file; the message says where to get it manually
        """
        for file in self.data_set.downloads:
            if self.find(file.path) is not None:
                continue
            if self.dry_run:
                self.report(f"would download {self.out / file.path}, {file.size:,} bytes")
            else:
                fetching.fetch(file, self.out, page=self.data_set.page, report=self.report)

    def check(self, path: Path) -> None:
        """Compare a file with the size and SHA-256 in the registry, if they are known.

        Raises
        ------
        DataError : the size or the SHA-256 differs
        """
        named = (
            file for file in self.data_set.files if f"/{path.as_posix()}".endswith(f"/{file.path}")
        )
        # Only files whose SHA-256 is registered can be
        # checked; `--other-counts` accepts other versions.
        known = next((file for file in named if file.sha256 is not None), None)
        if known is None or not path.is_file() or self._other_counts:
            return
        # On Windows, git and editors change the line endings of a text and nothing else.
        if path.suffix == ".txt":
            content = path.read_bytes().replace(b"\r\n", b"\n")
            size, digest = len(content), hashlib.sha256(content).hexdigest()
        else:
            size, digest = path.stat().st_size, None
        # The size first: it costs nothing, and most damaged downloads are too short.
        if size != known.bytes:
            raise DataError(
                f"{path} has {size:,} bytes, expected {known.bytes:,}: the download is incomplete"
            )
        if self.dry_run:
            return
        if digest is None:
            digest = sha256(path)
        if digest != known.sha256:
            raise DataError(
                f"{path} has SHA-256 {digest}, expected {known.sha256}: it is not the published "
                f"file"
            )
        self.report(f"checked {path}")

    def folder(self, role: str) -> Path:
        """A folder; if only its archive exists, the archive is unpacked below `out`.

        For such a role the registry lists the folder first and then the archives.

        Raises
        ------
        DataError : neither exists, or the folder is not in the archive
        CdmlLabError : another process is unpacking it
        """
        return self._folder(*self.data_set.places(role))

    def make(
        self, name: str, action: Callable[[Path], None], count: Callable[[Path], Mapping[str, int]]
    ) -> Path:
        """Create ``out / name`` if it does not exist, and compare its counts with the registry's.

        Parameters
        ----------
        action : creates the file or folder at the path it is given, completely or not at all
        count : counts the content of an existing one

        Raises
        ------
        DataError : the counts differ, unless other counts are allowed
        CdmlLabError : another process is creating it
        """
        target = self.out / name
        if self.dry_run:
            if target.exists():
                self.report(f"exists already: {target}")
            else:
                # A dry run has not created the inputs that earlier steps would have.
                condition = ", once the missing files are there" if self._missing else ""
                self.report(f"would create {target}{condition}")
            return target
        # It may exist by now, created by the process that held the claim.
        with claimed(target):
            if not target.exists():
                self.report(f"creating {target}")
                action(target)
        self.verify(name, lambda: count(target))
        return target

    def verify(self, name: str, count: Callable[[], Mapping[str, int]]) -> None:
        """Compare counts with those in the registry for `name`.

        Raises
        ------
        DataError : they differ, unless other counts are allowed
        """
        if self.dry_run:
            self.report(f"would count the contents of {name}")
            return
        counts = count()
        self.report(f"{name}: " + ", ".join(f"{value:,} {key}" for key, value in counts.items()))
        for key, limits in self.data_set.counts(name).items():
            if not limits[0] <= counts.get(key, -1) <= limits[1] and not self._other_counts:
                raise DataError(
                    f"{name} has {counts.get(key, 0):,} {key}, expected {registry.span(limits)} "
                    f"for {self.data_set.title}; if yours is another version, --other-counts "
                    f"accepts it"
                )

    def _need(self, names: tuple[str, ...]) -> Path:
        path = self.find(*names)
        if path is not None:
            self.report(f"found {path}")
            return path
        source = self.data_set.plain_source
        if self.data_set.by_request:
            source += ", by request: you have to ask for it yourself"
        # What is missing, where it was looked for, and where it comes from, in one sentence.
        message = (
            f"{' or '.join(names)} is missing (looked in {paths.searched()}); "
            f"{self.data_set.title} comes from {source}"
        )
        if not self.dry_run:
            raise DataError(f"{message}; licence: {self.data_set.licence}")
        self.report(f"missing: {message}")
        self._missing = True
        return self.out / names[0]  # where the missing file would be

    def _folder(self, name: str, *packed: str) -> Path:
        archive, into = self.find(*packed), self.out / Path(name).parts[0]
        # Written after unpacking, with the size of the archive: without it, or if the archive has
        # changed, the archive is unpacked again.
        stamp = into / f".{archive.name}.unpacked" if archive else None
        unpacked = (
            archive
            and stamp
            and stamp.is_file()
            and stamp.read_text(encoding="ascii") == _size(archive)
        )
        # Nothing to unpack, or a folder that somebody unpacked by hand and that is used as it is.
        if archive is None or stamp is None or (not unpacked and self.find(name) is not None):
            return self._need((name, *packed))
        if self.dry_run and not unpacked:
            self.report(f"would unpack {archive} into {into}")
            self._missing = True
            return self.out / name
        # Check the archive before it is unpacked; the stamp comes last.
        if not unpacked:
            self.check(archive)
            self.report(f"unpacking {archive} into {into}")
            with claimed(into):
                archives.extract(archive, into)
                write_text(stamp, _size(archive))
        # The archive may have folders above the one that is needed.
        inside = next(
            (p for p in (*into.rglob(Path(name).name), self.out / name) if p.is_dir()), None
        )
        if inside is None:
            raise DataError(
                f"{archive} was unpacked, but it does not contain a folder {Path(name).name}"
            )
        return inside


def _size(path: Path) -> str:
    return str(path.stat().st_size)


def main(
    script: str,
    make: Callable[[Job], None],
    arguments: list[str] | None = None,
    *,
    fetches: bool = False,
) -> None:
    """Run the command line of a data script.

    Parameters
    ----------
    script : its ``__file__``, named after the data set in the registry
    make : the script's work; its docstring becomes the command's description
    arguments : of the command line; default: those of the process
    fetches : whether the script can download files and has the option ``--fetch``
    """
    print_anything()
    path = Path(script)
    parser = argparse.ArgumentParser(description=make.__doc__)
    parser.add_argument(
        "--to",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="folder for outputs (default: data)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="report what exists and what would be done, and do nothing",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads")
    parser.add_argument(
        "--other-counts", action="store_true", help="accept another version of the data set"
    )
    if fetches:
        parser.add_argument("--fetch", action="store_true", help="download missing files")
    chosen = parser.parse_args(arguments)
    try:
        # The script has the name of its data set. Terms are printed before anything is done.
        data_set = registry.get(path.stem)
        print(f"{data_set.title}. Licence: {data_set.licence}")
        print(f"Source: {data_set.plain_source}\nCite: {data_set.cite}")
        out = chosen.to or paths.to_write()
        options = {
            "dry_run": chosen.dry_run,
            "workers": chosen.workers,
            "other_counts": chosen.other_counts,
        }
        make(Job(data_set, out, fetch=fetches and chosen.fetch, **options))
    except CdmlLabError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"{path.name}: {error.strerror or error}: {error.filename}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"\n{path.name}: stopped; finished outputs are kept", file=sys.stderr)
        raise SystemExit(130) from None  # as a shell reports Ctrl-C
