"""MS1MV3: InsightFace's pack, checked; or a pack made from identity folders.

    python data_scripts/ms1mv3.py [--to FOLDER] [--dry-run] [--workers N]

Wants ``ms1m-retinaface-t1`` (folder or zip) with train.rec, train.idx and property; or ``ms1mv3``
with one folder a person, from which it makes ``ms1mv3_112``.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """MS1MV3: check the pack, or make ms1mv3_112/ from folders."""
    build_steps.training_pack(
        job, "ms1mv3_112", "ms1m-retinaface-t1", "ms1mv3", "ms1mv3.zip", "ms1mv3.tar.gz"
    )


if __name__ == "__main__":
    script_job.main(__file__, make)
