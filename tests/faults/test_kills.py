"""A few kills of each job; kills.py does fifty and records them in results/faults/kills.json."""

import pytest
from tests.faults.kills import JOBS, REPOSITORY, survive

from cdmllab import results


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_job_killed_at_random_ends_with_the_same_files(tmp_path, job):
    outcome = survive(job, tmp_path, kills=3, seed=1)
    assert outcome["kills"] == 3
    assert outcome["ends"] == outcome["equal ends"] >= 1


def test_report_counts_fifty_kills_per_job():
    jobs = results.load("faults/kills", REPOSITORY / "results")["jobs"]
    assert {job.name for job in JOBS} == set(jobs)
    assert all(
        job["kills"] >= 50 and job["ends"] == job["equal ends"] >= 1 for job in jobs.values()
    )
