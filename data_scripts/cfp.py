"""Create the verification bins of CFP: frontal-frontal and frontal-profile.

    python data_scripts/cfp.py [--to FOLDER] [--dry-run]

Faces are aligned if there are landmarks.
"""

from cdmllab.data import build_steps, pair_lists, script_job


def make(job: script_job.Job) -> None:
    """CFP: protocol and images to verification/cfp_ff.bin and cfp_fp.bin."""
    protocol = job.folder("protocol")
    images = job.folder("images")
    marks = job.have("landmarks")
    for kind, name in (("FF", "cfp_ff"), ("FP", "cfp_fp")):
        if job.dry_run and not protocol.exists():
            job.report(f"would create verification/{name}.bin")
        else:
            build_steps.pair_list_bin(
                job, name, pair_lists.cfp(protocol, kind), images.parents[1], marks
            )


if __name__ == "__main__":
    script_job.main(__file__, make)
