"""Make an InsightFace pack from identity folders: parallel, resumable, with a report.

The pack grows in a folder ``<name>.partial`` next to its target. Every finished image is a line of
``journal.jsonl``, written after its record, and a stopped packing resumes after the last complete
line. An existing pack is replaced at the end and not before.
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
    """How images become records."""

    size: int = 112  # pixels
    quality: int = 95  # of JPEGs that are re-encoded
    min_images: int = 1  # identities with fewer are left out
    landmarks: Path | None = (
        None  # see `cdmllab.data.align.read_landmarks`; with it images are aligned
    )
    keep_bytes: bool = True  # an upright colour JPEG of the right size is stored as it is
    ignore: tuple[
        str, ...
    ] = ()  # patterns of files and folders to leave out, see `cdmllab.data.walk.walk`


class Report(NamedTuple):
    """The result of a packing."""

    images: int
    identities: int
    skipped: Mapping[str, str]  # image that could not be packed -> why
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

    An upright colour JPEG of the right size is kept byte for byte. Every other image is turned
    upright by its EXIF tag, aligned by its landmarks or else cropped to the square in its middle,
    resized and encoded. Identities without any image are left out, so labels have no gaps.

    ``report.json`` in the pack names every image that could not be packed and every file that was
    not read, with the reason.

    Parameters
    ----------
    workers : threads; 0 works in the calling thread
    progress : called with images done and images in all

    Raises
    ------
    DataError : nothing to pack, `target` exists and is not a pack, or landmarks that match several
        images
    CdmlLabError : another process packs at `target`
    OSError : no space left or no permission; an existing `target` is unchanged
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
    if target.exists() and not (
        target.is_dir() and ((target / "train.rec").exists() or not any(target.iterdir()))
    ):
        raise DataError(f"{target} exists and is no pack: it is not replaced")
    found = listing(source, min_images=settings.min_images, ignore=settings.ignore)
    names = [below(file, source) for file in found.files]
    landmarks = _landmarks(settings.landmarks, names, found) if settings.landmarks else None
    growing = target.with_name(target.name + ".partial")
    _begin(growing, _plan(found, settings))
    with PackWriter(growing) as writer:
        resumed, total = writer.dealt_with, len(names)
        if writer.names != names[:resumed]:
            raise DataError(f"{growing} holds another packing: remove it and pack again")
        one = partial(_record, found, names, settings, landmarks)
        for k, (jpeg, problem) in enumerate(
            _in_order(one, range(resumed, total), workers), start=resumed
        ):
            if jpeg is None:
                writer.skip(names[k], problem)
            else:
                writer.add(names[k], found.names[found.labels[k]], jpeg)
            if progress is not None:
                progress(k + 1, total)
        if not writer.images:
            raise DataError(
                f"{source}: none of the {total:,} images can be packed; {writer.first_problem}"
            )
        writer.finish(settings.size)
        report = Report(
            writer.images, writer.identities, dict(writer.skipped), resumed, found.left_out
        )
    write_text(growing / REPORT, json.dumps(_as_json(report, source), indent=1) + "\n")
    replace_folder(growing, target)
    (target / PLAN).unlink()  # only now: until the pack is in place, a stopped packing can resume
    (target / JOURNAL).unlink()
    return report


def replace_folder(new: Path, target: Path) -> None:
    """Replace the folder `target` by `new`; the old one is removed once the new one is in place."""
    old = target.with_name(f"{target.name}.old")
    if old.exists():  # an earlier replacement was stopped, before or after the new one was moved
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


def _begin(growing: Path, plan: str) -> None:
    """Keep a stopped packing with the same plan; remove any other."""
    kept = growing / PLAN
    if not kept.is_file() or kept.read_bytes() != plan.encode():
        if growing.exists():
            shutil.rmtree(growing)
        growing.mkdir(parents=True)
        write_text(kept, plan)
    clear_leftovers(growing.iterdir())


def _plan(found: Listing, settings: Settings) -> str:
    """A digest of everything that the content of the pack depends on."""
    digest = hashlib.sha256(repr(settings._replace(landmarks=None)).encode())
    for file in (*([settings.landmarks] if settings.landmarks else []), *found.files):
        digest.update(os.fsencode(file))
        try:
            stat = file.stat()
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:  # packing it will report why
            digest.update(b"\0unreadable\n")
    return digest.hexdigest()


def _landmarks(path: Path, names: list[str], found: Listing) -> dict[str, NDArray[np.float64]]:
    """Landmarks by image.

    People with too few images count too: a file name without a folder must not match one of theirs.
    """
    others = [item.name for item in found.left_out if item.why == FEW]
    return landmarks_by_image([*names, *others], read_landmarks(path), path)


def _as_json(report: Report, source: Path) -> dict[str, object]:
    """The content of ``report.json``."""
    left_out = {item.name: item.why for item in report.left_out}
    return {**report._asdict(), "left_out": left_out, "source": printable(source.name)}


def _record(
    found: Listing,
    names: list[str],
    settings: Settings,
    landmarks: Mapping[str, NDArray[np.float64]] | None,
    k: int,
) -> tuple[bytes | None, str]:
    """The JPEG of one image, or None and the reason."""
    file = found.files[k]
    try:
        data = stored(file)
        pixels = decode(data, names[k])
        if landmarks is not None:
            points = landmarks.get(names[k])
            if points is None:
                return None, "there are no landmarks for it"
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
    """Whether it is a colour JPEG that looks the same in every reader: upright, and YCbCr."""
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
