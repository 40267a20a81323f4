"""What was fetched, made ready to be read: archives unpacked, worlds of the face lab rendered,
counts compared.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from cdmllab._util.build_lock import claimed
from cdmllab.data import archives
from cdmllab.data.packs import Pack
from cdmllab.data.registry import DataSet, RemoteFile, span
from cdmllab.errors import DataError


def unpack(file: RemoteFile, folder: Path, say: Callable[[str], None]) -> bool:
    """Unpack an archive below `folder`; whether there was anything to do. Stopped, it goes on.

    Files appear under their final name together: what is half-unpacked is in a hidden folder.

    Raises
    ------
    DataError : the archive is damaged, or does not hold what it should
    CdmlLabError : another process unpacks it
    """
    if file.unpack is None or file.holds is None:
        return False
    target, archive = folder / file.unpack, folder / file.path
    with claimed(target):
        if (target / file.holds).is_file():
            return False
        if target.exists():
            raise DataError(
                f"{target} is there without {file.holds}: move it away, and {archive.name} is "
                f"unpacked again"
            )
        say(f"unpacking {archive}")
        growing = target.with_name(f".{target.name}.unpacking")
        archives.extract(archive, growing)
        inside = min(growing.rglob(file.holds), key=lambda path: len(path.parts), default=None)
        if inside is None:
            raise DataError(f"{archive} was unpacked, and there is no {file.holds} in it")
        inside.parent.replace(target)
        shutil.rmtree(growing, ignore_errors=True)
    return True


def count(data_set: DataSet, pack: Pack) -> None:
    """Compare a fetched pack with the counts that the registry expects.

    Raises
    ------
    DataError : another number of images or identities; an identity without an image
    """
    for what, number in (("images", len(pack)), ("identities", pack.num_identities)):
        expected = data_set.pack_count(what)
        if expected is not None and not expected[0] <= number <= expected[1]:
            raise DataError(
                f"{pack.path} has {number:,} {what}, expected {span(expected)} for {data_set.title}"
            )
    if len(gaps := pack.gaps()):
        raise DataError(f"{pack.path}: identity {gaps[0]} has no image ({len(gaps):,} such)")
