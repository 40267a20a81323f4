"""CALFW: its bin.

    python data_scripts/calfw.py [--to FOLDER] [--dry-run]

Wants ``calfw/pairs_CALFW.txt`` and ``calfw/images``, or ``calfw/calfw.zip``; rar archives are unpacked by hand. With
``calfw/CA_landmarks`` (one file a picture, as handed out) or ``calfw/landmarks.txt`` the faces are aligned.
"""

from cdmllab.data import pair_lists, prepare, recipes


def make(job: prepare.Job) -> None:
    """CALFW: pair list and pictures to verification/calfw.bin."""
    images = job.folder("calfw/images", "calfw/calfw.zip")
    pairs = job.need("calfw/pairs_CALFW.txt", "calfw/calfw/pairs_CALFW.txt")
    if job.dry_run and not pairs.exists():
        job.say("would make verification/calfw.bin")
        return
    marks = job.have("calfw/landmarks.txt", "calfw/CA_landmarks", "calfw/calfw/CA_landmarks")
    recipes.pair_list_bin(job, "calfw", pair_lists.calfw(pairs), images, marks)


if __name__ == "__main__":
    prepare.main(__file__, make)
