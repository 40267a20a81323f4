"""CASIA-WebFace: a pack at 112 x 112.

    python data_scripts/casia_webface.py [--to FOLDER] [--dry-run] [--workers N]

Takes InsightFace's pack ``faces_webface_112x112`` (folder or zip) as it is; from ``CASIA-WebFace``
(one folder a person) it makes ``casia_webface_112``, aligned with ``CASIA-WebFace/landmarks.txt``
if that is there.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """CASIA-WebFace: check the pack, or make casia_webface_112/ from folders."""
    build_steps.training_pack(
        job,
        "casia_webface_112",
        "faces_webface_112x112",
        "CASIA-WebFace",
        "CASIA-WebFace.zip",
        "CASIA-WebFace.tar.gz",
    )


if __name__ == "__main__":
    script_job.main(__file__, make)
