"""Steps from published files to packs and bins, shared by the scripts of several data sets."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import write_text
from cdmllab.data import bins, ijb, lfw, orientation, packing, pair_lists
from cdmllab.data.align import align, landmarks_by_image, read_landmarks
from cdmllab.data.crop import centre_square
from cdmllab.data.decode import Colour, decode, encode_jpeg, stored
from cdmllab.data.folders import below, listing
from cdmllab.data.identity_protocols import gallery_and_probes, gallery_pairs
from cdmllab.data.packs import Pack
from cdmllab.data.packwriter import JOURNAL, PackWriter
from cdmllab.data.pair_lists import PairList
from cdmllab.data.pairs import Pairs
from cdmllab.data.script_job import Job
from cdmllab.data.walk import LeftOut, summary
from cdmllab.errors import DataError

SIZE = 112  # pixels


def pair_list_bin(
    job: Job, name: str, pair_list: PairList, root: Path, landmarks: Path | None = None
) -> Path:
    """Create ``verification/<name>.bin`` from a pair list over files below `root`.

    Images are aligned if there are landmarks. Otherwise images of another size than 112 x 112 are
    cropped to their central square, and this is reported, because published accuracies hold for
    aligned faces.
    """

    def write(target: Path) -> None:
        files = pair_list.files_below(root)
        names = [below(file, root) for file in files]
        known = _landmarks(landmarks, names)
        if known is None:
            job.report("no landmarks: images are cropped to their central square, not aligned")
        jpegs = [_face(file, name, known) for file, name in zip(files, names, strict=True)]
        bins.write(target, _alternating(jpegs, pair_list.pairs), pair_list.pairs.same)

    return job.make(f"verification/{name}.bin", write, count_bin)


def count_bin(path: Path) -> dict[str, int]:
    """Count all pairs and the genuine pairs of a bin."""
    same = bins.read(path).same
    return {"pairs": len(same), "genuine pairs": int(same.sum())}


def count_pack(path: Path) -> dict[str, int]:
    """Count the images and identities of a pack.

    Raises
    ------
    DataError : an identity has no image
    """
    pack = Pack(path)
    if len(gaps := pack.gaps()):
        raise DataError(f"{path}: identity {gaps[0]} has no image ({len(gaps):,} have none)")
    return {"images": len(pack), "identities": pack.num_identities}


def training_pack(job: Job) -> Path:
    """Check InsightFace's pack of a training set, or create one from identity folders.

    The pack has the name of the registry's only output for this data set.
    """
    (name,) = job.data_set.makes
    # InsightFace's published pack is used as it is; only without one are images packed.
    published = job.find_pack()
    if published is not None:
        job.report(f"found {published}")
        job.verify(name, lambda: count_pack(published))
        return published.parent
    source = job.folder("images")
    marks = job.have("landmarks")

    def write(target: Path) -> None:
        settings = packing.Settings(SIZE, landmarks=marks)
        report = packing.pack(source, target, settings, workers=job.workers)
        _report_left_out(job, report.left_out)
        if report.skipped:
            job.report(f"{len(report.skipped):,} images skipped, see {target / packing.REPORT}")

    return job.make(name, write, count_pack)


def lfw_pack(job: Job, archive: Path, pair_file: Path) -> None:
    """Create ``lfw_112``, a pack of all people with the people of each fold, and View 2's bin."""
    memory: list[tuple[lfw.Faces, Pairs]] = []  # read once, and only if an output is missing
    colour: Colour = "GRAY" if archive.name.startswith("lfwa") else "RGB"

    def faces() -> tuple[lfw.Faces, Pairs]:
        if not memory:
            images = lfw.images(archive, size=(SIZE, SIZE), colour=colour)
            memory.append((images, lfw.pairs(images, path=pair_file)))
        return memory[0]

    def write_pack(target: Path) -> None:
        people, pairs = faces()
        # Grow the pack under another name, so that an
        # interrupted run leaves no half pack in its place.
        growing = target.with_name(target.name + ".partial")
        if growing.exists():
            shutil.rmtree(growing)
        growing.mkdir(parents=True)
        with PackWriter(growing) as writer:
            for row in range(len(people)):
                person = people.names[people.labels[row]]
                writer.add(f"{person}/{row}", person, encode_jpeg(people.images[row]))
            writer.finish(SIZE)
        # Folds of identities, not of images: networks are trained without a fold's people.
        folds = {str(fold): lfw.people_in(people, pairs, fold).tolist() for fold in range(10)}
        write_text(growing / lfw.FOLDS, json.dumps({"identities_in_pairs": folds}) + "\n")
        # The journal would let a packing resume; the finished pack must not contain it.
        (growing / JOURNAL).unlink()
        packing.replace_folder(growing, target)

    def write_bin(target: Path) -> None:
        people, pairs = faces()
        # Encode each image once, even though most images are in several pairs.
        rows = np.unique(np.concatenate([pairs.first, pairs.second])).tolist()
        jpegs = {row: encode_jpeg(people.images[row]) for row in rows}
        bins.write(target, _alternating(jpegs, pairs), pairs.same)

    job.make("lfw_112", write_pack, count_pack)
    job.make("verification/lfw.bin", write_bin, count_bin)


def gallery_bin(job: Job, name: str, root: Path, seed: int = 0, per_fold: int = 300) -> Path:
    """Create a bin from identity folders: seeded random pairs of a gallery image and a probe."""

    def write(target: Path) -> None:
        people = listing(root, min_images=2)  # one for the gallery, one as a probe
        _report_left_out(job, people.left_out)
        marks = root.parent / "landmarks.txt"
        names = [below(file, root) for file in people.files]
        known = _landmarks(marks if marks.is_file() else None, names)
        split = gallery_and_probes(people.labels, seed=seed)
        pairs = gallery_pairs(people.labels, split, per_fold, seed=seed)
        rows = np.unique(np.concatenate([pairs.first, pairs.second])).tolist()
        faces = {k: _face(people.files[k], names[k], known) for k in rows}
        bins.write(target, _alternating(faces, pairs), pairs.same)

    return job.make(f"verification/{name}.bin", write, count_bin)


def calfw_bin(job: Job) -> None:
    """Create the bin of CALFW or CPLFW, whose files have the same form."""
    name = job.data_set.name
    images = job.folder("images")
    pairs = job.need("pairs")
    # In a dry run the pair list may not have been downloaded yet.
    if job.dry_run and not pairs.exists():
        job.report(f"would create verification/{name}.bin")
        return
    pair_list_bin(job, name, pair_lists.calfw(pairs), images, job.have("landmarks"))


def ijb_check(job: Job) -> None:
    """Check that the meta files and images of IJB-B or IJB-C are complete and match each other."""
    name, root = job.data_set.name, job.need("folder")

    def count() -> dict[str, int]:
        templates = ijb.load(root, name)
        missing = [file for file in templates.names if not (root / "loose_crop" / file).is_file()]
        # Name the first missing file, and count all of them.
        if missing:
            raise DataError(
                f"{root / 'loose_crop' / missing[0]} is missing ({len(missing):,} of "
                f"{len(templates):,} are)"
            )
        return {
            "images": len(templates),
            "templates": len(templates.template_ids),
            "pairs": len(templates.pairs.same),
        }

    job.verify(name, count)


def _landmarks(path: Path | None, names: list[str]) -> dict[str, NDArray[np.float64]] | None:
    return None if path is None else landmarks_by_image(names, read_landmarks(path), path)


def _report_left_out(job: Job, left_out: Iterable[LeftOut]) -> None:
    for line in summary(left_out):
        job.report(f"left out {line}")


def _face(file: Path, name: str, known: Mapping[str, NDArray[np.float64]] | None) -> bytes:
    """One image as a JPEG, aligned if there are landmarks."""
    data = stored(file)
    pixels = decode(data, str(file))
    if known is None:
        # JPEGs of the right size that no program turns are copied without loss.
        is_jpeg = data[:3] == b"\xff\xd8\xff" and orientation.of_jpeg(data) == orientation.UPRIGHT
        if pixels.shape[:2] == (SIZE, SIZE) and is_jpeg:
            return data  # as it is: encoding it again would change its pixels
        return encode_jpeg(centre_square(pixels, SIZE))
    points = known.get(name)
    if points is None:
        raise DataError(f"there are no landmarks for {name}")
    try:
        return encode_jpeg(align(pixels, points, SIZE))
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error


def _alternating(
    faces: Mapping[int, bytes] | list[bytes], pairs: Pairs
) -> list[bytes | NDArray[np.uint8]]:
    """The images of a bin: the two of each pair, one after the other."""
    rows = np.stack([pairs.first, pairs.second], axis=1).reshape(-1).tolist()
    return [faces[row] for row in rows]
