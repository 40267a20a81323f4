"""Create a pack of all of LFW at 112 x 112, the people of each fold, and the bin of View 2.

    python data_scripts/lfw.py [--to FOLDER] [--dry-run] [--fetch]

The images are the grey ones of LFW-a or any colour archive; ``--dry-run`` lists the possible files.
``lfw_112/folds.json`` lists the people in the pairs of each fold, who must not be in the training
set when that fold is the test set. ``--fetch`` downloads the funneled images and ``pairs.txt`` if
images or pairs are missing.
"""

from cdmllab.data import build_steps, lfw, script_job


def make(job: script_job.Job) -> None:
    """LFW: archive and pairs.txt to lfw_112/ and verification/lfw.bin."""
    if job.fetch and (lfw.archive() is None or lfw.pair_file() is None):
        job.download()
    inputs = {"images": lfw.archive(), "pairs": lfw.pair_file()}
    for role, path in inputs.items():
        if path is not None:
            job.report(f"found {role} in {path}")
    archive = inputs["images"] or job.need("images")
    pairs = inputs["pairs"] or job.need("pairs")
    job.check(archive)
    job.check(pairs)
    build_steps.lfw_pack(job, archive, pairs)


if __name__ == "__main__":
    script_job.main(__file__, make, fetches=True)
