"""Omniglot: download (about 16 MB) if it is not there, and count it.

    python data_scripts/omniglot.py [--to FOLDER] [--dry-run]

Takes every part that is there, as ``omniglot-py/images_background.zip`` and its like or unpacked;
with none there it downloads the two large ones.
"""

from pathlib import Path

from cdmllab.data import omniglot, script_job
from cdmllab.errors import DataError


def make(job: script_job.Job) -> None:
    """Omniglot: download and count."""
    if not _found(job):
        job.download("omniglot")
        if job.dry_run:
            return
    if not (found := _found(job)):
        raise DataError(
            f"the download left none of {', '.join(omniglot.PARTS)} in {job.out / 'omniglot-py'}"
        )
    for part, place in found.items():
        if (stored := job.have(f"omniglot-py/{part}.zip")) is not None:
            job.check(stored)
        job.verify(part, lambda part=part, place=place: _count(part, place))


def _found(job: script_job.Job) -> dict[str, Path]:
    """The parts that are there, below the folder that is written to or in the data folders."""
    return {
        part: place
        for part in omniglot.PARTS
        if (place := job.have(*omniglot.places(part))) is not None
    }


def _count(part: str, place: Path) -> dict[str, int]:
    drawings = omniglot.load(part, path=place)
    return {"characters": drawings.num_identities, "drawings": len(drawings)}


if __name__ == "__main__":
    script_job.main(__file__, make)
