"""Make an InsightFace pack from identity folders: parallel, resumable, with a report of what was
skipped.

The pack grows in a folder ``<name>.partial`` beside its place. Every finished image is a line of
``journal.jsonl``, written after its record; a stopped packing goes on from the last whole line. A
pack that is there already is replaced in the end and not before.
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
    quality: int = 95  # of JPEGs that are encoded anew
    min_images: int = 1  # identities with fewer are left out
    landmarks: Path | None = (
        None  # see `cdmllab.data.align.read_landmarks`; with it images are aligned
    )
    keep_bytes: bool = True  # an upright colour JPEG of the right size is stored as it is
    ignore: tuple[
        str, ...
    ] = ()  # patterns of files and folders to leave out, see `cdmllab.data.walk.walk`


class Report(NamedTuple):
    """What a packing did."""

    images: int
    identities: int
    skipped: Mapping[str, str]  # image that could not be packed -> why
    resumed: int  # images that an earlier, stopped packing had dealt with
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

    An upright colour JPEG that has the right size already is kept byte for byte; every other image
    is turned upright by its EXIF, aligned by its landmarks, or else cut to the square in its
    middle, resized and encoded. Identities that end without an image are left out, so labels have
    no gaps. ``report.json`` in the pack names every image that could not be packed and every file
    that was not read, with the reason.

    Parameters
    ----------
    workers : threads; 0 does all in the calling one
    progress : called with images done and images in all

    Raises
    ------
    DataError : nothing to pack, `target` exists and is no pack, or landmarks that fit several
        images
    CdmlLabError : another process packs at `target`
    OSError : no space left, no permission; what was at `target` stays
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
    write_text(growing / REPORT, json.dumps(_told(report, source), indent=1) + "\n")
    replace_folder(growing, target)
    (target / PLAN).unlink()  # only now: until the pack stands there, a stopped packing can go on
    (target / JOURNAL).unlink()
    return report


def replace_folder(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`; the old one goes when the new one stands
    there.
    """
    old = target.with_name(f"{target.name}.old")
    if old.exists():  # an earlier replacing was stopped, before or after the new one stood there
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
    """Keep a stopped packing with the same plan; clear away any other."""
    kept = growing / PLAN
    if not kept.is_file() or kept.read_bytes() != plan.encode():
        if growing.exists():
            shutil.rmtree(growing)
        growing.mkdir(parents=True)
        write_text(kept, plan)
    clear_leftovers(growing.iterdir())


def _plan(found: Listing, settings: Settings) -> str:
    """A digest of everything that decides what the pack will hold."""
    digest = hashlib.sha256(repr(settings._replace(landmarks=None)).encode())
    for file in (*([settings.landmarks] if settings.landmarks else []), *found.files):
        digest.update(os.fsencode(file))
        try:
            stat = file.stat()
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:  # packing it will say why
            digest.update(b"\0unreadable\n")
    return digest.hexdigest()


def _landmarks(path: Path, names: list[str], found: Listing) -> dict[str, NDArray[np.float64]]:
    """Landmarks by image; a row without a folder must not fit somebody with too few images
    either.
    """
    others = [item.name for item in found.left_out if item.why == FEW]
    return landmarks_by_image([*names, *others], read_landmarks(path), path)


def _told(report: Report, source: Path) -> dict[str, object]:
    """What ``report.json`` says."""
    left_out = {item.name: item.why for item in report.left_out}
    return {**report._asdict(), "left_out": left_out, "source": printable(source.name)}


def _record(
    found: Listing,
    names: list[str],
    settings: Settings,
    landmarks: Mapping[str, NDArray[np.float64]] | None,
    k: int,
) -> tuple[bytes | None, str]:
    """The JPEG of one image, or why there is none."""
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
    """A colour JPEG that every reader shows alike: one with an orientation other than upright, they
    do not.
    """
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
    """Threads for packing: one for each core."""
    return os.cpu_count() or 1
