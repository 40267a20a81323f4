"""What the scripts of ``data_scripts/`` share: find what is there, check it, make what is not,
count the result.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import sha256, write_text
from cdmllab._util.processes import print_anything
from cdmllab.data import archives, fetching, paths
from cdmllab.errors import CdmlLabError, DataError

Counts = dict[str, int | tuple[int, int]]  # a number, or the least and the most


class File(BaseModel):
    """A file as it is handed out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What a data set is, where it comes from, and what must come out: one JSON file each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    source: str  # where to get it
    licence: str
    by_request: bool  # a form has to be filled in, or an account made
    cite: str
    files: dict[str, File] = {}
    counts: dict[str, Counts] = {}  # of each thing that is made or checked

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one.

        Raises
        ------
        DataError : it is missing or not of this form
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path} does not exist") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{path}, {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


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
        manifest: Manifest,
        out: Path,
        *,
        dry_run: bool = False,
        workers: int = 1,
        other_counts: bool = False,
        fetch: bool = False,
    ) -> None:
        self.manifest, self.out, self.dry_run, self.workers, self.fetch = (
            manifest,
            out,
            dry_run,
            workers,
            fetch,
        )
        self._other_counts = other_counts
        self._missing = False

    def say(self, sentence: str) -> None:
        """Print one line."""
        print(sentence, flush=True)

    def need(self, *names: str) -> Path:
        """The first of some files or folders in the data folders.

        In a dry run a path that does not exist is returned for what is missing, and told.

        Raises
        ------
        DataError : none is there; the sentence says where to get it
        """
        found = self.have(*names)
        if found is not None:
            self.say(f"found {found}")
            return found
        m, wanted = self.manifest, " or ".join(names)
        ask = ", by request: a person has to ask for it" if m.by_request else ""
        sentence = (
            f"{wanted} is missing (looked in {paths.searched()}); {m.title} comes from "
            f"{m.source}{ask}"
        )
        if not self.dry_run:
            raise DataError(f"{sentence}; licence: {m.licence}")
        self.say(f"missing: {sentence}")
        self._missing = True
        return self.out / names[0]

    def have(self, *names: str) -> Path | None:
        """The first of some files or folders in the data folders or among what was made; None if
        there is none.
        """
        made = next((self.out / name for name in names if (self.out / name).exists()), None)
        return made or paths.find(*names)

    def download(self, name: str) -> None:
        """Fetch the files of a set of the table of mirrors that are in no data folder; see
        `cdmllab.data.fetching`.

        Raises
        ------
        DataError : no mirror gives a file; the sentence says where a person can get it
        """
        wanted = fetching.known().get(name)
        for file in wanted.files:
            if self.have(file.path) is not None:
                continue
            if self.dry_run:
                self.say(f"would download {self.out / file.path}, {file.size:,} bytes")
            else:
                fetching.fetch(file, self.out, page=wanted.page, tell=self.say)

    def check(self, path: Path) -> None:
        """Compare a file with the one the manifest knows by that name, if it knows one.

        Raises
        ------
        DataError : another size or SHA-256
        """
        known = next(
            (f for name, f in self.manifest.files.items() if path.as_posix().endswith(name)), None
        )
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

    def folder(self, name: str, *packed: str) -> Path:
        """A folder, or else the archive that holds it, unpacked below `out`; `name` is below the
        data folder.

        Raises
        ------
        DataError : neither is there, or the archive does not hold the folder
        CdmlLabError : another process unpacks it
        """
        archive, into = self.have(*packed), self.out / Path(name).parts[0]
        stamp = into / f".{archive.name}.unpacked" if archive else None
        unpacked = (
            archive
            and stamp
            and stamp.is_file()
            and stamp.read_text(encoding="ascii") == _size(archive)
        )
        if archive is None or stamp is None or (not unpacked and self.have(name) is not None):
            return self.need(name, *packed)
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

    def make(
        self, name: str, action: Callable[[Path], None], count: Callable[[Path], Mapping[str, int]]
    ) -> Path:
        """Make ``out / name`` if it is not there, and compare its counts with the manifest's.

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
        """Compare counts with those the manifest has for `name`.

        Raises
        ------
        DataError : they differ, unless other counts are allowed
        """
        if self.dry_run:
            self.say(f"would count what {name} holds")
            return
        counts = count()
        self.say(f"{name}: " + ", ".join(f"{value:,} {key}" for key, value in counts.items()))
        for key, wanted in self.manifest.counts.get(name, {}).items():
            low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
            if not low <= counts.get(key, -1) <= high and not self._other_counts:
                told = f"{low:,}" if low == high else f"{low:,} to {high:,}"
                raise DataError(
                    f"{name} has {counts.get(key, 0):,} {key}, {self.manifest.title} has {told}; "
                    "if yours is another version, --other-counts accepts it"
                )


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
    script : its ``__file__``
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
        manifest = Manifest.read(path.parent / "manifests" / f"{path.stem}.json")
        print(
            f"{manifest.title}. Licence: {manifest.licence}\nSource: {manifest.source}\nCite: "
            f"{manifest.cite}"
        )
        out = given.to or paths.to_write()
        options = {
            "dry_run": given.dry_run,
            "workers": given.workers,
            "other_counts": given.other_counts,
        }
        make(Job(manifest, out, fetch=fetches and given.fetch, **options))
    except CdmlLabError as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"{path.name}: {error.strerror or error}: {error.filename}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"\n{path.name}: stopped; what was done before stays", file=sys.stderr)
        raise SystemExit(130) from None
