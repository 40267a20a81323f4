"""CPLFW: its bin.

    python data_scripts/cplfw.py [--to FOLDER] [--dry-run]

Wants ``cplfw/pairs_CPLFW.txt`` and ``cplfw/images``, or ``cplfw/cplfw.zip``; rar archives are
unpacked by hand. With ``cplfw/CP_landmarks`` (one file an image, as handed out) or
``cplfw/landmarks.txt`` the faces are aligned.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """CPLFW: pair list and images to verification/cplfw.bin."""
    build_steps.calfw_bin(job, "cplfw", landmarks="CP_landmarks")


if __name__ == "__main__":
    script_job.main(__file__, make)
