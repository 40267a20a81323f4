"""CFP: the bins of the frontal-frontal and the frontal-profile protocol.

    python data_scripts/cfp.py [--to FOLDER] [--dry-run]

Wants ``cfp/Protocol`` and ``cfp/Data/Images``, or ``cfp/cfp-dataset.zip`` with both. With
``cfp/landmarks.txt``
(lines ``Data/Images/001/frontal/01.jpg x1 y1 ... x5 y5``) the faces are aligned.
"""

from cdmllab.data import build_steps, pair_lists, script_job


def make(job: script_job.Job) -> None:
    """CFP: protocol and images to verification/cfp_ff.bin and cfp_fp.bin."""
    protocol = job.folder("cfp/Protocol", "cfp/cfp-dataset.zip")
    images = job.folder("cfp/Data/Images", "cfp/cfp-dataset.zip")
    marks = job.have("cfp/landmarks.txt")
    for kind, name in (("FF", "cfp_ff"), ("FP", "cfp_fp")):
        if job.dry_run and not protocol.exists():
            job.say(f"would make verification/{name}.bin")
        else:
            build_steps.pair_list_bin(
                job, name, pair_lists.cfp(protocol, kind), images.parents[1], marks
            )


if __name__ == "__main__":
    script_job.main(__file__, make)
