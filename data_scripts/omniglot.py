"""Omniglot: download (about 13 MB, with torchvision) if it is not there, and count it.

    python data_scripts/omniglot.py [--to FOLDER] [--dry-run]

Takes every part that is there, as ``omniglot-py/images_background.zip`` and its like or unpacked; with none there it
downloads the two large ones.
"""

from torchvision.datasets import Omniglot

from cdmllab.data import omniglot, prepare


def make(job: prepare.Job) -> None:
    """Omniglot: download and count."""
    if not any(omniglot.available(part) for part in omniglot.PARTS):
        if job.dry_run:
            job.say(f"would download Omniglot into {job.out / 'omniglot-py'}")
            return
        job.out.mkdir(parents=True, exist_ok=True)
        for background in (True, False):
            Omniglot(str(job.out), background=background, download=True)
    for part in omniglot.PARTS:
        if (stored := job.have(f"omniglot-py/{part}.zip")) is not None:
            job.check(stored)
        if omniglot.available(part):
            job.verify(part, lambda part=part: _count(part))


def _count(part: str) -> dict[str, int]:
    drawings = omniglot.load(part)
    return {"characters": drawings.num_identities, "drawings": len(drawings)}


if __name__ == "__main__":
    prepare.main(__file__, make)
