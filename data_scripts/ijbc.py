"""Check that the meta files and loose crops of IJB-C are complete; they are read in place.

python data_scripts/ijbc.py [--dry-run]
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """IJB-C: check meta and loose_crop."""
    build_steps.ijb_check(job)


if __name__ == "__main__":
    script_job.main(__file__, make)
