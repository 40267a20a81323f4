"""Create an InsightFace pack from identity folders: parallel, resumable, with a report.

The pack is written to a folder ``<name>.partial`` next to its target. Every finished image has a
line in ``journal.jsonl``, written after its record, and a stopped packing resumes after the last
complete line. An existing pack is replaced only when the new one is complete.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import clear_leftovers, printable, write_text
from cdmllab.data import orientation
from cdmllab.data.align import align, landmarks_by_image, read_landmarks
from cdmllab.data.crop import centre_square
from cdmllab.data.decode import decode, encode_jpeg, stored
from cdmllab.data.folders import Listing, below, listing
from cdmllab.data.packwriter import JOURNAL, PackWriter
from cdmllab.data.walk import FEW, LeftOut
from cdmllab.errors import DataError

PLAN, REPORT = "plan.txt", "report.json"


class Settings(NamedTuple):
    """How images are converted to records."""

    size: int = 112  # pixels
    quality: int = 95  # of JPEGs that are re-encoded
    min_images: int = 1  # identities with fewer are left out
    # A file for `cdmllab.data.align.read_landmarks`; with landmarks, images are aligned.
    landmarks: Path | None = None
    keep_bytes: bool = True  # store an upright colour JPEG of the right size without re-encoding
    # Patterns of files and folders to leave out, see `cdmllab.data.walk.walk`.
    ignore: tuple[str, ...] = ()


class Report(NamedTuple):
    """The result of a packing."""

    images: int
    identities: int
    skipped: Mapping[str, str]  # image that could not be packed -> reason
    resumed: int  # images that an earlier, stopped packing had finished
    left_out: tuple[LeftOut, ...]  # files and folders that were not read


def pack(
    source: Path | str,
    target: Path | str,
    settings: Settings = Settings(),  # noqa: B008  (it is immutable)
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Pack the identity folders below `source` into the folder `target`.

    An upright colour JPEG of the right size is kept byte for byte. Every other image is rotated
    according to its EXIF tag, aligned by its landmarks or else cropped to its central square,
    resized and encoded. Identities without any image are left out, so labels have no gaps.

    ``report.json`` in the pack names every image that could not be packed and every file that was
    not read, with the reason.

    Parameters
    ----------
    workers : threads; 0 works in the calling thread
    progress : called with the number of images done and the number of all images

    Raises
    ------
    DataError : there is nothing to pack, `target` exists and is not a pack, or a line of landmarks
        matches several images
    CdmlLabError : another process is writing to `target`
    OSError : the disk is full or cannot be written; an existing `target` is unchanged
    """
    source, target = Path(source), Path(target)
    with claimed(target):
        return _pack(source, target, settings, workers, progress)


def _pack(
    source: Path,
    target: Path,
    settings: Settings,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Report:
    # Only a pack, or an empty folder, may be replaced.
    if target.exists() and not (
        target.is_dir() and ((target / "train.rec").exists() or not any(target.iterdir()))
    ):
        raise DataError(f"{target} exists and is not a pack, so it is not replaced")
    people = listing(source, min_images=settings.min_images, ignore=settings.ignore)
    names = [below(file, source) for file in people.files]
    landmarks = _landmarks(settings.landmarks, names, people) if settings.landmarks else None
    partial_pack = target.with_name(target.name + ".partial")
    _begin(partial_pack, _plan(people, settings))
    with PackWriter(partial_pack) as writer:
        # The images already in the journal must be the first of this packing's.
        resumed, total = writer.processed, len(names)
        if writer.names != names[:resumed]:
            raise DataError(
                f"{partial_pack} belongs to a packing of other images: remove it and pack again"
            )
        one = partial(_record, people, names, settings, landmarks)
        for k, (jpeg, problem) in enumerate(
            _in_order(one, range(resumed, total), workers), start=resumed
        ):
            if jpeg is None:
                writer.skip(names[k], problem)
            else:
                writer.add(names[k], people.names[people.labels[k]], jpeg)
            if progress is not None:
                progress(k + 1, total)
        # Without any image there is no pack; the first problem is probably that of all.
        if not writer.images:
            raise DataError(
                f"{source}: none of the {total:,} images can be packed; {writer.first_problem}"
            )
        writer.finish(settings.size)
        report = Report(
            writer.images, writer.identities, dict(writer.skipped), resumed, people.left_out
        )
    write_text(partial_pack / REPORT, json.dumps(_as_json(report, source), indent=1) + "\n")
    replace_folder(partial_pack, target)
    # Only now, because a packing that is stopped before this point resumes from these files.
    (target / PLAN).unlink()
    (target / JOURNAL).unlink()
    return report


def replace_folder(new: Path, target: Path) -> None:
    """Replace the folder `target` by `new`; the old folder is removed last."""
    old = target.with_name(f"{target.name}.old")
    # An earlier replacement was stopped: after `new` was moved the old folder is only a leftover,
    # before that it is the only complete one.
    if old.exists():
        shutil.rmtree(old) if target.exists() else old.rename(target)
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _begin(folder: Path, plan: str) -> None:
    """Keep a stopped packing that has the same plan; replace any other by an empty folder."""
    kept = folder / PLAN
    if not kept.is_file() or kept.read_bytes() != plan.encode():
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        write_text(kept, plan)
    clear_leftovers(folder.iterdir())


def _plan(people: Listing, settings: Settings) -> str:
    """A digest of everything that determines the pack: settings and the stat of every file."""
    digest = hashlib.sha256(repr(settings._replace(landmarks=None)).encode())
    for file in (*([settings.landmarks] if settings.landmarks else []), *people.files):
        digest.update(os.fsencode(file))
        try:
            stat = file.stat()
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:  # the reason is reported when the file is packed
            digest.update(b"\0unreadable\n")
    return digest.hexdigest()


def _landmarks(path: Path, names: list[str], people: Listing) -> dict[str, NDArray[np.float64]]:
    """Landmarks by image.

    Images of people with too few of them count too: landmarks for a file name without a folder are
    ambiguous if such an image has that name.
    """
    others = [item.name for item in people.left_out if item.why == FEW]
    return landmarks_by_image([*names, *others], read_landmarks(path), path)


def _as_json(report: Report, source: Path) -> dict[str, object]:
    """The content of ``report.json``."""
    left_out = {item.name: item.why for item in report.left_out}
    return {**report._asdict(), "left_out": left_out, "source": printable(source.name)}


def _record(
    people: Listing,
    names: list[str],
    settings: Settings,
    landmarks: Mapping[str, NDArray[np.float64]] | None,
    k: int,
) -> tuple[bytes | None, str]:
    """The JPEG of one image and an empty string, or None and the reason."""
    file = people.files[k]
    try:
        data = stored(file)
        pixels = decode(data, names[k])
        if landmarks is not None:
            points = landmarks.get(names[k])
            if points is None:
                return None, "it has no landmarks"
            pixels = align(pixels, points, settings.size)
        elif (
            settings.keep_bytes
            and pixels.shape[:2] == (settings.size, settings.size)
            and _keepable(data)
        ):
            return data, ""
        else:
            pixels = centre_square(pixels, settings.size)
    except (PermissionError, FileNotFoundError) as error:
        return None, f"it cannot be read ({error.strerror})"
    except ValueError as error:
        return None, str(error).removeprefix(f"{names[k]}: ")
    return encode_jpeg(pixels, settings.quality), ""


def _keepable(data: bytes) -> bool:
    """Whether it is a colour JPEG that every decoder shows alike: upright, and in YCbCr."""
    if data[:3] != b"\xff\xd8\xff" or orientation.of_jpeg(data) != orientation.UPRIGHT:
        return False
    try:
        return bool(simplejpeg.decode_jpeg_header(data)[2] == "YCbCr")
    except ValueError:
        return False


def _in_order(
    make: Callable[[int], tuple[bytes | None, str]], items: range, workers: int
) -> Iterator[tuple[bytes | None, str]]:
    if workers == 0:
        yield from map(make, items)
        return
    # Records are written in order, so that a pack does not depend on the number of threads. The
    # queue is bounded, so that a slow disk does not fill the memory with images.
    waiting: deque[Future[tuple[bytes | None, str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def default_workers() -> int:
    """Threads for packing: one per core."""
    return os.cpu_count() or 1
