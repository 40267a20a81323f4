"""Make an InsightFace pack from identity folders: parallel, resumable, with a report of what was skipped.

The pack grows in a folder ``<name>.partial`` beside its place. Every finished picture is a line of
``journal.jsonl``, written after its record; a stopped packing goes on from the last whole line. A pack that is
there already is replaced in the end and not before.
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

from cdmllab.data.align import align, landmarks_of, read_landmarks
from cdmllab.data.crop import centre_square
from cdmllab.data.decode import decode, encode_jpeg
from cdmllab.data.folders import Listing, listing
from cdmllab.data.packwriter import JOURNAL, PackWriter
from cdmllab.errors import DataError
from cdmllab.files import write_text

PLAN, REPORT = "plan.txt", "report.json"


class Settings(NamedTuple):
    """How pictures become records."""

    size: int = 112  # pixels
    quality: int = 95  # of JPEGs that are encoded anew
    min_pictures: int = 1  # identities with fewer are left out
    landmarks: Path | None = None  # lines `Name/file.jpg x1 y1 ... x5 y5`; with it pictures are aligned
    keep_bytes: bool = True  # a colour JPEG of the right size is stored as it is


class Report(NamedTuple):
    """What a packing did."""

    pictures: int
    identities: int
    skipped: Mapping[str, str]  # file -> why
    resumed: int  # pictures that an earlier, stopped packing had dealt with


def pack(
    source: Path | str,
    target: Path | str,
    settings: Settings = Settings(),  # noqa: B008  (it is immutable)
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Pack the identity folders below `source` into the folder `target`.

    A colour JPEG that has the right size already is kept byte for byte; every other picture is aligned by its
    landmarks, or else cut to the square in its middle, resized and encoded. Identities that end without a picture
    are left out, so labels have no gaps.

    Parameters
    ----------
    workers : threads; 0 does all in the calling one
    progress : called with pictures done and pictures in all

    Raises
    ------
    DataError : nothing to pack, or `target` exists and is no pack
    OSError : no space left, no permission; what was at `target` stays
    """
    source, target = Path(source), Path(target)
    if target.exists() and not (target.is_dir() and ((target / "train.rec").exists() or not any(target.iterdir()))):
        raise DataError(f"{target} exists and is no pack: it is not replaced")
    found = listing(source, min_pictures=settings.min_pictures)
    names = [file.relative_to(source).as_posix() for file in found.files]
    landmarks = read_landmarks(settings.landmarks) if settings.landmarks else None
    growing = target.with_name(target.name + ".partial")
    _begin(growing, _plan(found, settings))
    with PackWriter(growing) as writer:
        resumed, total = writer.dealt_with, len(names)
        if writer.names != names[:resumed]:
            raise DataError(f"{growing} holds another packing: remove it and pack again")
        one = partial(_record, found, names, settings, landmarks)
        for k, (jpeg, problem) in enumerate(_in_order(one, range(resumed, total), workers), start=resumed):
            if jpeg is None:
                writer.skip(names[k], problem)
            else:
                writer.add(names[k], found.names[found.labels[k]], jpeg)
            if progress is not None:
                progress(k + 1, total)
        if not writer.pictures:
            raise DataError(f"{source}: none of the {total:,} pictures can be packed; {writer.first_problem}")
        writer.finish(settings.size)
        report = Report(writer.pictures, writer.identities, dict(writer.skipped), resumed)
    write_text(growing / REPORT, json.dumps({**report._asdict(), "source": source.name}, indent=1) + "\n")
    replace_folder(growing, target)
    (target / PLAN).unlink()  # only now: until the pack stands there, a stopped packing can go on
    (target / JOURNAL).unlink()
    return report


def replace_folder(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`; the old one goes when the new one stands there."""
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
    if not kept.is_file() or kept.read_text(encoding="ascii") != plan:
        if growing.exists():
            shutil.rmtree(growing)
        growing.mkdir(parents=True)
        write_text(kept, plan)


def _plan(found: Listing, settings: Settings) -> str:
    """A digest of everything that decides what the pack will hold."""
    digest = hashlib.sha256(repr(settings._replace(landmarks=None)).encode())
    for file in (*([settings.landmarks] if settings.landmarks else []), *found.files):
        stat = file.stat()
        digest.update(f"{file.as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _record(
    found: Listing, names: list[str], settings: Settings, landmarks: Mapping[str, NDArray[np.float64]] | None, k: int
) -> tuple[bytes | None, str]:
    """The JPEG of one picture, or why there is none."""
    file = found.files[k]
    try:
        data = file.read_bytes()
        pixels = decode(data, names[k])
        if landmarks is not None:
            points = landmarks_of(names[k], landmarks)
            if points is None:
                return None, "there are no landmarks for it"
            pixels = align(pixels, points, settings.size)
        elif settings.keep_bytes and pixels.shape[:2] == (settings.size, settings.size) and _colour_jpeg(data):
            return data, ""
        else:
            pixels = centre_square(pixels, settings.size)
    except (ValueError, PermissionError, FileNotFoundError) as error:
        return None, str(error).removeprefix(f"{names[k]}: ")
    return encode_jpeg(pixels, settings.quality), ""


def _colour_jpeg(data: bytes) -> bool:
    if data[:3] != b"\xff\xd8\xff":
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
