"""CALFW: its bin.

    python data_scripts/calfw.py [--to FOLDER] [--dry-run]

Wants ``calfw/pairs_CALFW.txt`` and ``calfw/images``, or ``calfw/calfw.zip``; rar archives are
unpacked by hand. With ``calfw/CA_landmarks`` (one file an image, as handed out) or
``calfw/landmarks.txt`` the faces are aligned.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """CALFW: pair list and images to verification/calfw.bin."""
    build_steps.calfw_bin(job, "calfw", landmarks="CA_landmarks")


if __name__ == "__main__":
    script_job.main(__file__, make)
