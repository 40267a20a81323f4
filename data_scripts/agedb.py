"""AgeDB-30: its bin.

    python data_scripts/agedb.py [--to FOLDER] [--dry-run]

Wants ``agedb/04_FINAL_protocol_30_years.mat`` and ``agedb/03_Protocol_Images``: ask for the
password and unpack AgeDB.zip by hand. With ``agedb/landmarks.txt`` (lines
``name.jpg x1 y1 ... x5 y5``) the faces are aligned.
"""

from cdmllab.data import build_steps, pair_lists, script_job


def make(job: script_job.Job) -> None:
    """AgeDB-30: protocol and images to verification/agedb_30.bin."""
    protocol = job.need("agedb/04_FINAL_protocol_30_years.mat")
    images = job.need("agedb/03_Protocol_Images")
    if job.dry_run and not protocol.exists():
        job.say("would make verification/agedb_30.bin")
        return
    job.check(protocol)
    marks = job.have("agedb/landmarks.txt")
    build_steps.pair_list_bin(job, "agedb_30", pair_lists.agedb(protocol), images.parent, marks)


if __name__ == "__main__":
    script_job.main(__file__, make)
