"""What was fetched, made ready to be read: archives unpacked, worlds of the face lab rendered,
counts compared.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from cdmllab._util.build_lock import claimed
from cdmllab.data import archives
from cdmllab.data.fetching.manifest import RemoteFile, Set
from cdmllab.data.packs import Pack
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


def count(wanted: Set, pack: Pack) -> None:
    """Compare a pack with what the table says of its set.

    Raises
    ------
    DataError : another number of images or identities; an identity without an image
    """
    for what, number, allowed in (
        ("images", len(pack), wanted.images),
        ("identities", pack.num_identities, wanted.identities),
    ):
        if allowed is not None and not allowed[0] <= number <= allowed[1]:
            told = (
                f"{allowed[0]:,}"
                if allowed[0] == allowed[1]
                else f"{allowed[0]:,} to {allowed[1]:,}"
            )
            raise DataError(f"{pack.path} has {number:,} {what}, and {wanted.title} has {told}")
    if len(gaps := pack.gaps()):
        raise DataError(f"{pack.path}: identity {gaps[0]} has no image ({len(gaps):,} such)")
