"""IJB-C: see that meta files and loose crops are whole; they are read as they are.

    python data_scripts/ijbc.py [--dry-run]

Wants ``ijbc/meta/ijbc_face_tid_mid.txt``, ``ijbc_template_pair_label.txt``,
``ijbc_name_5pts_score.txt`` and ``ijbc/loose_crop``, as InsightFace's evaluation has them.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """IJB-C: check ijbc/meta and ijbc/loose_crop."""
    build_steps.ijb_check(job, "ijbc")


if __name__ == "__main__":
    script_job.main(__file__, make)
