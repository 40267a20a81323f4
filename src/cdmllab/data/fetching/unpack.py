"""Prepare downloaded files for reading: unpack archives and check counts."""

import shutil
from collections.abc import Callable
from pathlib import Path

from cdmllab._util.build_lock import claimed
from cdmllab.data import archives
from cdmllab.data.packs import Pack
from cdmllab.data.registry import DataSet, RemoteFile, span
from cdmllab.errors import DataError


def unpack(file: RemoteFile, folder: Path, report: Callable[[str], None]) -> bool:
    """Unpack an archive below `folder`, and return whether there was anything to do.

    Files are unpacked to a hidden folder, which gets its final name at the end. A stopped unpacking
    is resumed.

    Raises
    ------
    DataError : the archive is damaged, or does not contain the expected file
    CdmlLabError : another process is unpacking it
    """
    if file.unpack is None or file.holds is None:
        return False
    target, archive = folder / file.unpack, folder / file.path
    with claimed(target):
        if (target / file.holds).is_file():  # unpacked before
            return False
        # Not ours to replace: it may contain what somebody put there.
        if target.exists():
            raise DataError(
                f"{target} exists without {file.holds}: move it away, so that {archive.name} can "
                f"be unpacked again"
            )
        report(f"unpacking {archive}")
        partial = target.with_name(f".{target.name}.unpacking")
        archives.extract(archive, partial)
        # The shallowest one: the archive may contain further files of that name in other folders.
        inside = min(partial.rglob(file.holds), key=lambda path: len(path.parts), default=None)
        if inside is None:
            raise DataError(f"{archive} was unpacked, but it does not contain {file.holds}")
        inside.parent.replace(target)
        shutil.rmtree(partial, ignore_errors=True)
    return True


def count(data_set: DataSet, pack: Pack) -> None:
    """Check a downloaded pack against the counts in the registry.

    Raises
    ------
    DataError : the number of images or identities differs, or an identity has no image
    """
    for counted, number in (("images", len(pack)), ("identities", pack.num_identities)):
        expected = data_set.pack_count(counted)
        if expected is not None and not expected[0] <= number <= expected[1]:
            raise DataError(
                f"{pack.path} has {number:,} {counted}, expected {span(expected)} for "
                f"{data_set.title}"
            )
    if len(gaps := pack.gaps()):
        raise DataError(f"{pack.path}: identity {gaps[0]} has no image ({len(gaps):,} have none)")
