"""Create the verification bin of AgeDB-30.

    python data_scripts/agedb.py [--to FOLDER] [--dry-run]

Request the password and unpack AgeDB.zip yourself. Faces are aligned if there are landmarks.
"""

from cdmllab.data import build_steps, pair_lists, script_job


def make(job: script_job.Job) -> None:
    """AgeDB-30: protocol and images to verification/agedb_30.bin."""
    protocol = job.need("protocol")
    images = job.need("images")
    if job.dry_run and not protocol.exists():
        job.report("would create verification/agedb_30.bin")
        return
    job.check(protocol)
    listed = pair_lists.agedb(protocol)
    build_steps.pair_list_bin(job, "agedb_30", listed, images.parent, job.have("landmarks"))


if __name__ == "__main__":
    script_job.main(__file__, make)
