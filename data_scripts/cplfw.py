"""CPLFW: its bin.

    python data_scripts/cplfw.py [--to FOLDER] [--dry-run]

Wants ``cplfw/pairs_CPLFW.txt`` and ``cplfw/images``, or ``cplfw/cplfw.zip``; rar archives are unpacked by hand. With
``cplfw/CP_landmarks`` (one file a picture, as handed out) or ``cplfw/landmarks.txt`` the faces are aligned.
"""

from cdmllab.data import pair_lists, prepare, recipes


def make(job: prepare.Job) -> None:
    """CPLFW: pair list and pictures to verification/cplfw.bin."""
    images = job.folder("cplfw/images", "cplfw/cplfw.zip")
    pairs = job.need("cplfw/pairs_CPLFW.txt", "cplfw/cplfw/pairs_CPLFW.txt")
    if job.dry_run and not pairs.exists():
        job.say("would make verification/cplfw.bin")
        return
    marks = job.have("cplfw/landmarks.txt", "cplfw/CP_landmarks", "cplfw/cplfw/CP_landmarks")
    recipes.pair_list_bin(job, "cplfw", pair_lists.calfw(pairs), images, marks)


if __name__ == "__main__":
    prepare.main(__file__, make)
