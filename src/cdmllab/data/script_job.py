"""What the scripts of ``data_scripts/`` share: find what is there, check it, make what is not,
count the result.
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
    out : the folder that made things go to
    dry_run : tell what would be done, and do nothing
    workers : threads
    fetch : whether the script may download what is missing
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

    def say(self, sentence: str) -> None:
        """Print one line."""
        print(sentence, flush=True)

    def need(self, role: str) -> Path:
        """The first of the files or folders that the registry names for a role.

        In a dry run a missing file is reported, and its path is returned though it does not exist.

        Raises
        ------
        DataError : there is none; the message says where to get it
        """
        return self._need(self.data_set.places(role))

    def have(self, role: str) -> Path | None:
        """As `need`, but None where there is none of them."""
        return self.find(*self.data_set.places(role))

    def find(self, *names: str) -> Path | None:
        """The first existing of some files or folders, in the output folder or the data folders."""
        outputs = (self.out / name for name in names)
        return next((path for path in outputs if path.exists()), None) or paths.find(*names)

    def find_pack(self) -> Path | None:
        """The ``train.rec`` of InsightFace's pack of the same data, unpacked if it is a zip."""
        pack = str(self.data_set.pack)
        records = self.find(f"{pack}/train.rec")
        if records is None and self.find(f"{pack}.zip") is not None:
            return self._folder(pack, f"{pack}.zip") / "train.rec"
        return records

    def download(self) -> None:
        """Fetch the files of this set that have a mirror and are in no data folder.

        Raises
        ------
        DataError : no mirror gives a file; the message says where a person can get it
        """
        for file in self.data_set.downloads:
            if self.find(file.path) is not None:
                continue
            if self.dry_run:
                self.say(f"would download {self.out / file.path}, {file.size:,} bytes")
            else:
                fetching.fetch(file, self.out, page=self.data_set.page, tell=self.say)

    def check(self, path: Path) -> None:
        """Compare a file with the registry's size and SHA-256 of that name, if it has them.

        Raises
        ------
        DataError : another size or SHA-256
        """
        named = (file for file in self.data_set.files if path.as_posix().endswith(file.path))
        known = next((file for file in named if file.sha256 is not None), None)
        if known is None or not path.is_file() or self._other_counts:
            return
        if (
            path.suffix == ".txt"
        ):  # git and editors on Windows change its line ends, and nothing else
            content = path.read_bytes().replace(b"\r\n", b"\n")
            size, digest = len(content), hashlib.sha256(content).hexdigest()
        else:
            size, digest = path.stat().st_size, None
        if size != known.bytes:
            raise DataError(
                f"{path} has {size:,} bytes, {known.bytes:,} are expected: the download is not "
                f"complete"
            )
        if self.dry_run:
            return
        if digest is None:
            digest = sha256(path)
        if digest != known.sha256:
            raise DataError(
                f"{path} has SHA-256 {digest}, {known.sha256} is expected: it is not the file "
                f"handed out"
            )
        self.say(f"checked {path}")

    def folder(self, role: str) -> Path:
        """A folder, or else the archive that has it, unpacked below `out`.

        The registry names the folder first for that role, and then the archives.

        Raises
        ------
        DataError : neither is there, or the folder is not in the archive
        CdmlLabError : another process unpacks it
        """
        return self._folder(*self.data_set.places(role))

    def make(
        self, name: str, action: Callable[[Path], None], count: Callable[[Path], Mapping[str, int]]
    ) -> Path:
        """Make ``out / name`` if it is not there, and compare its counts with the registry's.

        `action` writes to the path it is given and leaves nothing half-written; `count` reads it
        back.

        Raises
        ------
        DataError : the counts differ, unless other counts are allowed
        CdmlLabError : another process makes it
        """
        target = self.out / name
        if self.dry_run:
            if target.exists():
                self.say(f"there already: {target}")
            else:
                self.say(
                    f"would make {target}"
                    + (", once what is missing is there" if self._missing else "")
                )
            return target
        with claimed(target):
            if not target.exists():
                self.say(f"making {target}")
                action(target)
        self.verify(name, lambda: count(target))
        return target

    def verify(self, name: str, count: Callable[[], Mapping[str, int]]) -> None:
        """Compare counts with those the registry has for `name`.

        Raises
        ------
        DataError : they differ, unless other counts are allowed
        """
        if self.dry_run:
            self.say(f"would count what {name} holds")
            return
        counts = count()
        self.say(f"{name}: " + ", ".join(f"{value:,} {key}" for key, value in counts.items()))
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
            self.say(f"found {path}")
            return path
        source = self.data_set.plain_source
        if self.data_set.by_request:
            source += ", by request: a person has to ask for it"
        message = (
            f"{' or '.join(names)} is missing (looked in {paths.searched()}); "
            f"{self.data_set.title} comes from {source}"
        )
        if not self.dry_run:
            raise DataError(f"{message}; licence: {self.data_set.licence}")
        self.say(f"missing: {message}")
        self._missing = True
        return self.out / names[0]

    def _folder(self, name: str, *packed: str) -> Path:
        archive, into = self.find(*packed), self.out / Path(name).parts[0]
        stamp = into / f".{archive.name}.unpacked" if archive else None
        unpacked = (
            archive
            and stamp
            and stamp.is_file()
            and stamp.read_text(encoding="ascii") == _size(archive)
        )
        if archive is None or stamp is None or (not unpacked and self.find(name) is not None):
            return self._need((name, *packed))
        if self.dry_run and not unpacked:
            self.say(f"would unpack {archive} into {into}")
            self._missing = True
            return self.out / name
        if not unpacked:
            self.check(archive)
            self.say(f"unpacking {archive} into {into}")
            with claimed(into):
                archives.extract(archive, into)
                write_text(stamp, _size(archive))
        inside = next(
            (p for p in (*into.rglob(Path(name).name), self.out / name) if p.is_dir()), None
        )
        if inside is None:
            raise DataError(
                f"{archive} was unpacked, and there is no folder {Path(name).name} in it"
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
    """The command line of a data script.

    Parameters
    ----------
    script : its ``__file__``, named after the data set in the registry
    make : what it does
    arguments : of the command line; default: the process's own
    fetches : whether it can download, and so has the option ``--fetch``
    """
    print_anything()
    path = Path(script)
    parser = argparse.ArgumentParser(description=make.__doc__)
    parser.add_argument(
        "--to",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="where made things go (default: data)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what is there and what would be done"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads")
    parser.add_argument(
        "--other-counts", action="store_true", help="accept another version of the data set"
    )
    if fetches:
        parser.add_argument("--fetch", action="store_true", help="download what is missing")
    given = parser.parse_args(arguments)
    try:
        data_set = registry.get(path.stem)
        print(f"{data_set.title}. Licence: {data_set.licence}")
        print(f"Source: {data_set.plain_source}\nCite: {data_set.cite}")
        out = given.to or paths.to_write()
        options = {
            "dry_run": given.dry_run,
            "workers": given.workers,
            "other_counts": given.other_counts,
        }
        make(Job(data_set, out, fetch=fetches and given.fetch, **options))
    except CdmlLabError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"{path.name}: {error.strerror or error}: {error.filename}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"\n{path.name}: stopped; what was done before stays", file=sys.stderr)
        raise SystemExit(130) from None
