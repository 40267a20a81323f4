"""Check that the AT&T Database of Faces is complete.

    python data_scripts/att_faces.py [--dry-run]

The originals have 92 x 112 pixels; smaller copies are reported.
"""

from cdmllab.data import att_faces, script_job

ORIGINAL = (112, 92)  # height and width, pixels


def make(job: script_job.Job) -> None:
    """AT&T faces: count images and people."""
    if not job.need("images").exists():
        return
    size = att_faces.stored_size()
    if size != ORIGINAL:
        job.report(
            f"a reduced copy: {size[1]} x {size[0]} pixels, the originals have {ORIGINAL[1]} x "
            f"{ORIGINAL[0]}"
        )
    job.verify("att_faces", _count)


def _count() -> dict[str, int]:
    faces = att_faces.load()
    return {"images": len(faces), "identities": faces.num_identities}


if __name__ == "__main__":
    script_job.main(__file__, make)
