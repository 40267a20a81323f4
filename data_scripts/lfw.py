"""LFW: a pack of everybody at 112 x 112 with the people of each fold, and the bin of View 2.

    python data_scripts/lfw.py [--to FOLDER] [--dry-run] [--fetch]

Wants ``lfw/lfwa.tar.gz`` (LFW-a, grey), or in colour ``lfw/lfw-deepfunneled.tgz``,
``lfw-funneled.tgz``, ``lfw.tgz`` or Kaggle's ``archive.zip``, or one of them unpacked below
``lfw/``; and ``lfw/pairs.txt`` or ``pairs.csv``, which Kaggle's zip holds. ``lfw_112/folds.json``
names the people in the pairs of each fold, who must not be trained on when that fold is tested.
With ``--fetch`` the funneled images and ``pairs.txt`` are downloaded where there are none.
"""

from cdmllab.data import build_steps, lfw, script_job


def make(job: script_job.Job) -> None:
    """LFW: archive and pairs.txt to lfw_112/ and verification/lfw.bin."""
    if job.fetch and (lfw.archive() is None or lfw.pair_file() is None):
        job.download("lfw")
    found = {"images": lfw.archive(), "pairs": lfw.pair_file()}
    for what, place in found.items():
        if place is not None:
            job.say(f"found {what} in {place}")
    archive = found["images"] or job.need(*lfw.ARCHIVES)
    pairs = found["pairs"] or job.need(*lfw.VIEWS["2"])
    job.check(archive)
    job.check(pairs)
    build_steps.lfw_pack(job, archive, pairs)


if __name__ == "__main__":
    script_job.main(__file__, make, fetches=True)
