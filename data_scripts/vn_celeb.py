"""Create a verification bin of VN-Celeb: seeded random pairs of a gallery image and a probe.

    python data_scripts/vn_celeb.py [--to FOLDER] [--dry-run]

One image of each person is in the gallery and the others are probes, so no image is both. No person
is in two folds. Faces are aligned if there are landmarks.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """VN-Celeb: identity folders to verification/vn_celeb.bin."""
    build_steps.gallery_bin(job, "vn_celeb", job.folder("images"))


if __name__ == "__main__":
    script_job.main(__file__, make)
