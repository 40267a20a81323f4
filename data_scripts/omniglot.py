"""Download Omniglot (about 16 MB) if it is missing, and count it.

    python data_scripts/omniglot.py [--to FOLDER] [--dry-run]

Every existing part is counted, zipped or unpacked. If there is none, the two large ones are
downloaded.
"""

from pathlib import Path

from cdmllab.data import omniglot, script_job
from cdmllab.errors import DataError


def make(job: script_job.Job) -> None:
    """Omniglot: download and count."""
    if not _parts(job):
        job.download()
        if job.dry_run:
            return
    if not (parts := _parts(job)):
        raise DataError(f"the download left none of {', '.join(omniglot.PARTS)} in {job.out}")
    for part, place in parts.items():
        for name in omniglot.places(part):
            if (stored := job.find(name)) is not None:
                job.check(stored)
        job.verify(part, lambda part=part, place=place: _count(part, place))


def _parts(job: script_job.Job) -> dict[str, Path]:
    """The parts that exist, in the output folder or the data folders."""
    return {part: path for part in omniglot.PARTS if (path := job.have(part)) is not None}


def _count(part: str, place: Path) -> dict[str, int]:
    drawings = omniglot.load(part, path=place)
    return {"characters": drawings.num_identities, "drawings": len(drawings)}


if __name__ == "__main__":
    script_job.main(__file__, make)
