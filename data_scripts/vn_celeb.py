"""VN-Celeb: a bin of seeded pairs, a gallery image against a probe.

    python data_scripts/vn_celeb.py [--to FOLDER] [--dry-run]

Wants ``vn_celeb/images`` with one folder a person, or ``vn_celeb/vn_celeb.zip``. One image of
each person is the gallery's, the others are probes; no image is both, and no person is in two
folds. With ``vn_celeb/landmarks.txt``
(lines ``person/file.jpg x1 y1 ... x5 y5``) the faces are aligned.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """VN-Celeb: identity folders to verification/vn_celeb.bin."""
    build_steps.gallery_bin(job, "vn_celeb", job.folder("vn_celeb/images", "vn_celeb/vn_celeb.zip"))


if __name__ == "__main__":
    script_job.main(__file__, make)
