"""Create the verification bin of CPLFW.

    python data_scripts/cplfw.py [--to FOLDER] [--dry-run]

Faces are aligned if there are landmarks, else cropped to their central square. ``--dry-run`` lists
the files that it needs.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """CPLFW: pair list and images to verification/cplfw.bin."""
    build_steps.calfw_bin(job)


if __name__ == "__main__":
    script_job.main(__file__, make)
