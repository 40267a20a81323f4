"""LMDB environments of images, in the two usual layouts; needs the extra ``formats``.

- ``num-samples``, ``image-000000001`` .. and ``label-000000001`` .. (text recognition's layout),
  counted from 1;
- ``__len__``, ``__keys__`` and by key a pickled (image bytes, label), as folder2lmdb writes them
  (https://github.com/Lyken17/Efficient-PyTorch); read by the restricted unpickler.

LMDB maps its file into memory and trusts it, so a damaged file kills Python without an exception.
Therefore a separate process, ``python -m cdmllab.data.lmdb_sets PATH``, first reads all entries,
and then everything that is read here, in the same way. If it survives, so does this process.
"""

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cdmllab._util.files import opened
from cdmllab._util.processes import limit
from cdmllab.data import safepickle
from cdmllab.data.decode import Colour
from cdmllab.data.encoded import EncodedSet
from cdmllab.errors import DataError, optional, plain, reader

_LARGEST = 1 << 62  # bytes of a file: it is mapped, and not read into memory
_ENTRY_BYTES = 11  # at least, of an entry in a file: its place, a header of 8 and a key of 1
_LONGEST_LABEL = 20  # bytes
_COMMAND = (sys.executable, "-P", "-m", "cdmllab.data.lmdb_sets")
_CPU_S = 3600  # of the check below; its message says an hour
_DATA_BYTES = 4 << 30  # memory of the check, apart from the mapped file


class LmdbSet(EncodedSet):
    """An LMDB folder (``data.mdb``) or file as a training set.

    Raises
    ------
    DataError : not an environment of one of the two layouts, or a sample is missing
    MissingPackageError : lmdb is not installed
    """

    @reader("a readable LMDB environment")
    def __init__(
        self,
        path: Path | str,
        *,
        colour: Colour = "RGB",
        fast: bool = False,
        check: bool = True,
    ) -> None:
        path = Path(path)
        with optional("formats", "an LMDB file"):
            import lmdb
        if check:
            _check(path)
        self._environment = _opened(lmdb, path)
        entries = int(self._environment.stat()["entries"])
        counted, listed = self._get(b"num-samples"), self._get(b"__keys__")
        # The layout is recognised by its key for the number of images.
        if counted is not None and counted.isdigit():
            number = _counted(counted, entries, path)
            self._keys = [b"image-%09d" % k for k in range(1, number + 1)]
            self._pickled = False
            labels = [self._label(b"label-%09d" % k, path) for k in range(1, number + 1)]
        elif listed is not None:
            self._keys = _listed(listed, entries, path)
            self._pickled = True
            labels = [self._sample(key, path)[1] for key in self._keys]
        else:
            raise DataError(f"{path} has neither num-samples nor __keys__: it is of another layout")
        super().__init__(path, np.array(labels, dtype=np.int64), colour=colour, fast=fast)

    def image(self, row: int) -> bytes:
        """The encoded image of a row."""
        key = self._keys[row]
        if self._pickled:
            return self._sample(key, self.path)[0]
        value = self._get(key)
        if value is None:
            raise DataError(f"{self.path} has no {key.decode(errors='replace')}")
        return value

    def where(self, row: int) -> str:
        """How a row is named in an error."""
        return f"{self.path}, {self._keys[row].decode(errors='replace')}"

    def _get(self, key: bytes) -> bytes | None:
        with self._environment.begin(buffers=False) as transaction:
            value: bytes | None = transaction.get(key)
            return value

    def _label(self, key: bytes, path: Path) -> int:
        label = self._get(key)
        if label is None or len(label) > _LONGEST_LABEL or not label.strip().isdigit():
            raise DataError(
                f"{path}, {key.decode()}: a label must be a whole number, got "
                f"{(label or b'')[:20]!r}"
            )
        return int(label)

    def _sample(self, key: bytes, path: Path) -> tuple[bytes, int]:
        where = f"{path}, {key.decode(errors='replace')}"
        stored = self._get(key)
        if stored is None:
            raise DataError(f"{where} is in __keys__ but has no sample")
        sample = safepickle.loads(stored, where)
        if (
            not isinstance(sample, tuple | list)
            or len(sample) < 2
            or not isinstance(sample[0], bytes)
            or not isinstance(sample[1], int)
        ):
            raise DataError(f"{where} must contain (image bytes, label)")
        return sample[0], sample[1]

    def touch(self) -> None:
        """Look up all images, and touch both ends of each, without copying them."""
        with self._environment.begin(buffers=True) as transaction:
            for key in self._keys:
                _touch(transaction.get(key) or b"")


def _counted(stored: bytes, entries: int, path: Path) -> int:
    """The number of images by ``num-samples``, each of which has two entries."""
    text = plain(stored.decode("ascii"), 40)
    if len(stored) > _LONGEST_LABEL or 2 * int(stored) > entries:
        raise DataError(
            f"{path} announces {text} images, which need two entries each, and has {entries:,} "
            f"entries"
        )
    return int(stored)


def _listed(stored: bytes, entries: int, path: Path) -> list[bytes]:
    """The keys in ``__keys__``, each once."""
    where = f"{path}, __keys__"
    names = safepickle.array(safepickle.loads(stored, where))
    if not isinstance(names, list | tuple) or len(names) > entries:
        raise DataError(f"{where} must be a list of at most {entries:,} keys, one per sample")
    keys = []
    for k, name in enumerate(names):
        if not isinstance(name, str | bytes):
            raise DataError(
                f"{where}, key {k}: expected text or bytes, got {safepickle.describe(name)}"
            )
        keys.append(name.encode() if isinstance(name, str) else name)
    if len(set(keys)) < len(keys):
        raise DataError(f"{where} has a key twice")
    return keys


def _opened(lmdb: Any, path: Path) -> Any:
    # Read-only and without a lock file, so that data on a read-only disk can be opened too.
    return lmdb.open(
        str(path),
        subdir=path.is_dir(),
        readonly=True,
        lock=False,
        readahead=False,  # training reads in random order
        max_spare_txns=64,
    )


def _check(path: Path) -> None:
    """Read all entries in a separate process.

    Raises
    ------
    DataError : it crashes or fails
    """
    data = path / "data.mdb" if path.is_dir() else path
    with opened(data, at_most=_LARGEST):  # lmdb would wait for the writer of a pipe
        pass
    done = subprocess.run([*_COMMAND, str(path)], capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGXCPU:
        raise DataError(f"{path} takes more than an hour of processor time to check")
    if done.returncode < 0:  # ended by a signal, such as a segmentation fault
        raise DataError(f"{path} is so damaged that the reader of LMDB files crashes")
    if done.returncode:
        reason = plain((done.stderr.strip().splitlines() or ["no message"])[-1], 150)
        raise DataError(f"{path} is not a readable LMDB environment: {reason}")


def main() -> None:
    """Touch both ends of every key and value of an environment, and read it as a training set."""
    import lmdb

    path = Path(sys.argv[1])

    # No core dump, and an end to any loop that a damaged tree causes.
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, _CPU_S, _CPU_S + 1)
    limit(resource.RLIMIT_DATA, _DATA_BYTES)
    environment = _opened(lmdb, path)
    left = environment.stat()["entries"]
    size = (path / "data.mdb" if path.is_dir() else path).stat().st_size
    # A tree that leads back into itself would otherwise be walked for as long as it claims.
    if left > size // _ENTRY_BYTES:
        raise ValueError(f"it announces {left:,} entries, and has {size:,} bytes")
    with environment.begin(buffers=True) as transaction:
        for entry in transaction.cursor():
            left -= 1
            if left < 0:
                raise ValueError("it has more entries than it announces")
            # Touching the ends makes a pointer outside of the mapped file crash here.
            for part in entry:
                _touch(part)
    if left:
        raise ValueError(f"it lacks {left:,} of the entries that it announces")
    environment.close()
    # Looking up a key reads other parts of the tree than walking it.
    try:
        LmdbSet(path, check=False).touch()
    except DataError as error:  # the process that opens it next says what is wrong
        if isinstance(error.__cause__, MemoryError):
            raise


def _touch(part: Any) -> None:
    if len(part):
        part[0], part[-1]


def is_environment(path: Path) -> bool:
    """Whether a path looks like an LMDB environment."""
    return (path / "data.mdb").is_file() or path.suffix in (".mdb", ".lmdb")


if __name__ == "__main__":
    main()
