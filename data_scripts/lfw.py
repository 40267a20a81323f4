"""LFW: a pack of everybody at 112 x 112 with the people of each fold, and the bin of View 2.

    python data_scripts/lfw.py [--to FOLDER] [--dry-run]

Wants ``lfw/lfwa.tar.gz`` (LFW-a, grey), or in colour ``lfw/lfw-deepfunneled.tgz``, ``lfw-funneled.tgz`` or
``lfw.tgz``, and ``lfw/pairs.txt``. ``lfw_112/folds.json`` tells who is in the pairs of each fold and must not be
trained on when that fold is tested.
"""

from cdmllab.data import lfw, prepare, recipes


def make(job: prepare.Job) -> None:
    """LFW: archive and pairs.txt to lfw_112/ and verification/lfw.bin."""
    archive, pairs = job.need(*lfw.ARCHIVES), job.need(lfw.VIEWS["2"])
    job.check(archive)
    job.check(pairs)
    recipes.lfw_pack(job, archive, pairs)


if __name__ == "__main__":
    prepare.main(__file__, make)
