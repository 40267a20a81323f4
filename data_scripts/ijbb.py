"""IJB-B: see that meta files and loose crops are whole; they are read as they are.

    python data_scripts/ijbb.py [--dry-run]

Wants ``ijbb/meta/ijbb_face_tid_mid.txt``, ``ijbb_template_pair_label.txt``,
``ijbb_name_5pts_score.txt`` and ``ijbb/loose_crop``, as InsightFace's evaluation has them.
"""

from cdmllab.data import build_steps, script_job


def make(job: script_job.Job) -> None:
    """IJB-B: check ijbb/meta and ijbb/loose_crop."""
    build_steps.ijb_check(job, "ijbb")


if __name__ == "__main__":
    script_job.main(__file__, make)
