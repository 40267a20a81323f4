"""Check InsightFace's pack of MS1MV3, or make a pack at 112 x 112 from identity folders.

    python data_scripts/ms1mv3.py [--to FOLDER] [--dry-run] [--workers N]

A pack that is there, as a folder or as a zip, is counted and left as it is. Otherwise the folders
become ``ms1mv3_112``, aligned where there are landmarks.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """MS1MV3: check the pack, or make ms1mv3_112/ from folders."""
    build_steps.training_pack(job)


if __name__ == "__main__":
    script_job.main(__file__, make)
