"""Check InsightFace's pack of CASIA-WebFace, or create one at 112 x 112 from identity folders.

    python data_scripts/casia_webface.py [--to FOLDER] [--dry-run] [--workers N]

An existing pack, as a folder or a zip, is counted and not changed. Otherwise the identity folders
become ``casia_webface_112``, aligned if there are landmarks.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """CASIA-WebFace: check the pack, or create casia_webface_112/ from folders."""
    build_steps.training_pack(job)


if __name__ == "__main__":
    script_job.main(__file__, make)
