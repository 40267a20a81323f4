"""Look a data file over from end to end: what it holds, and everything that is wrong with it."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import read_json, sha256, write_text
from cdmllab.data import bins, copies, orientation, pack_checks, protocol_checks, sniff
from cdmllab.data.decode import decode, stored
from cdmllab.data.folders import below, listing
from cdmllab.data.packing import REPORT
from cdmllab.data.packs import Pack, read_property
from cdmllab.data.packwriter import CHECKSUMS
from cdmllab.data.walk import LeftOut, summary
from cdmllab.errors import DataError, reading

Progress = Callable[[int, int], None]


class Findings(NamedTuple):
    """What was found."""

    kind: str  # "pack", "bin", "protocol" or "folder"
    facts: dict[str, str]  # what it holds, in the order in which it is reported
    problems: list[str]  # sentences; empty when all is well
    unread: dict[str, str]  # image that cannot be read or decoded -> why
    left_out: list[LeftOut]  # files and folders of an identity folder that are not read


def inspect(
    path: Path | str,
    *,
    quick: bool = False,
    ignore: Iterable[str] = (),
    progress: Progress | None = None,
) -> Findings:
    """Look over a pack (folder or ``.rec``), a bin (``.bin`` or ``.npz``), a protocol (``.npz``) or
    an identity folder.

    Damage that stops the reading is a problem like others, so this raises only for what is none of
    the four.

    Parameters
    ----------
    quick : do not decode the images
    ignore : patterns of files and folders of an identity folder to leave out, see
        `cdmllab.data.walk.walk`
    progress : called with images looked at and images in all

    Raises
    ------
    DataError : `path` does not exist or is of no known kind
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.is_dir():
        kind = "pack" if any(path.glob("*.rec")) else "folder"
    elif path.suffix == ".npz" and protocol_checks.is_protocol(path):
        kind = "protocol"
    elif path.suffix in (".bin", ".npz"):
        kind = "bin"
    elif path.suffix == ".rec":
        kind = "pack"
    else:
        with path.open("rb") as file:
            hint = sniff.hint(file.read(sniff.HEAD_BYTES))
        raise DataError(f"{path} is neither a pack (.rec), a bin (.bin, .npz) nor a folder{hint}")
    found = Findings(kind, {}, [], {}, [])
    look = _Look(found, quick, progress)
    try:
        with reading(path, "readable"):
            if kind == "pack":
                look.pack(path)
            elif kind == "protocol":
                facts, problems = protocol_checks.look(path)
                found.facts.update(facts)
                found.problems.extend(problems)
            elif kind == "bin":
                look.bin(path)
            else:
                look.folder(path, ignore)
    except DataError as error:
        found.problems.append(str(error))
    except OSError as error:
        found.problems.append(
            f"{error.filename or path} cannot be read ({error.strerror or error})"
        )
    return found


def write_report(path: Path | str, found: Findings) -> None:
    """Write all that was found as JSON, every unread image and every file left out with its
    reason.
    """
    told = {**found._asdict(), "left_out": {item.name: item.why for item in found.left_out}}
    write_text(path, json.dumps(told, indent=1) + "\n")


class _Look(NamedTuple):
    """One look, and what it notes down."""

    found: Findings
    quick: bool
    progress: Progress | None

    def pack(self, path: Path) -> None:
        facts, problems = self.found.facts, self.found.problems
        pack = Pack(path)
        folder = pack.path.parent
        indexed = pack.path.with_suffix(".idx").exists()
        facts["records"] = f"{len(pack.file):,}"
        facts["header record"] = "yes" if pack.header else "no (as im2rec packs)"
        facts["index"] = "yes" if indexed else "no, the file was scanned"
        facts["images"] = f"{len(pack):,}"
        facts["identities"] = f"{pack.num_identities:,}"
        facts |= _spread(np.bincount(pack.labels, minlength=pack.num_identities))
        facts |= _packing(folder / REPORT)
        if indexed:
            try:
                problems += pack_checks.index(pack)
            except DataError as error:
                problems.append(str(error))
        gaps = pack.gaps()
        if len(gaps):
            problems.append(f"{len(gaps):,} identities have no image, the first is {gaps[0]}")
        said = read_property(folder / "property")
        if said is not None and pack.header and said.num_identities != pack.num_identities:
            problems.append(
                f"property says {said.num_identities:,} identities, the header "
                f"{pack.num_identities:,}"
            )
        if said is not None and said.images not in (None, len(pack)):
            problems.append(f"property says {said.images:,} images, there are {len(pack):,}")
        problems += pack_checks.ranges(pack)
        if (folder / CHECKSUMS).is_file():
            problems += pack_checks.checksums(pack, folder / CHECKSUMS)
            facts["checksums"] = "checked"
        turned: list[str] = []

        def read(row: int) -> NDArray[np.uint8]:
            image, where = pack.image(row), _record(pack, row)
            if orientation.of_jpeg(image) != orientation.UPRIGHT:
                turned.append(where)
            return decode(image, where, strict=True, upright=False)

        expected = (said.height, said.width) if said else None
        digest = self._images(
            read, lambda row: _record(pack, row), len(pack), expected, labels=pack.labels
        )
        self._copy(pack.path, digest)
        problems += _not_upright(turned)

    def bin(self, path: Path) -> None:
        facts, problems = self.found.facts, self.found.problems
        found = bins.read(path)
        count = len(found.images)
        genuine, impostor = int(found.same.sum()), int((~found.same).sum())
        facts["images"] = f"{count:,}"
        facts["pairs"] = f"{len(found.same):,} ({genuine:,} genuine, {impostor:,} impostor)"
        stored = sum(isinstance(image, bytes) for image in found.images)
        facts["stored as"] = "JPEG" if stored == count else f"pixels ({count - stored:,})"
        if len(found.same) % bins.FOLDS:
            problems.append(
                f"{len(found.same):,} pairs cannot be parted into {bins.FOLDS} equal folds"
            )
        else:
            by_fold = found.same.reshape(bins.FOLDS, -1).sum(axis=1)
            if (by_fold * 2 != len(found.same) // bins.FOLDS).any():
                counts = ", ".join(str(count) for count in by_fold)
                problems.append(
                    f"a fold does not have as many genuine as impostor pairs (genuine: {counts})"
                )
        turned: list[str] = []

        def read(k: int) -> NDArray[np.uint8]:
            image = found.images[k]
            if isinstance(image, bytes) and orientation.of_jpeg(image) != orientation.UPRIGHT:
                turned.append(f"image {k}")
            return found.image(k, strict=True)

        self._copy(path, self._images(read, lambda k: f"image {k}", count, labels=found.same))
        problems += _not_upright(turned)

    def folder(self, path: Path, ignore: Iterable[str]) -> None:
        facts = self.found.facts
        found = listing(path, ignore=ignore)
        facts["images"] = f"{len(found.files):,}"
        facts["identities"] = f"{found.num_identities:,}"
        facts |= _spread(np.bincount(found.labels))
        self.found.left_out.extend(found.left_out)
        harmless = summary(item for item in found.left_out if item.harmless)
        if harmless:
            facts["left out"] = "; ".join(harmless)
        harmful = summary(item for item in found.left_out if not item.harmless)
        self.found.problems.extend(f"left out {line}" for line in harmful)

        def name(row: int) -> str:
            return below(found.files[row], path)

        def read(row: int) -> NDArray[np.uint8]:
            return decode(stored(found.files[row]), name(row), strict=True)

        self._images(read, name, len(found.files), one_size=False)

    def _images(
        self,
        read: Callable[[int], NDArray[np.uint8]],
        name: Callable[[int], str],
        count: int,
        expected: tuple[int, int] | None = None,
        one_size: bool = True,
        labels: NDArray[np.generic] | None = None,
    ) -> str | None:
        """Decode all images, unless the look is quick, and compare their sizes.

        Returns the digest of pixels and labels, where there are labels and every image can be
        decoded.
        """
        if self.quick:
            return None
        content = None if labels is None else copies.ContentDigest()
        facts, problems, unread = self.found.facts, self.found.problems, self.found.unread
        sizes: dict[tuple[int, ...], int] = {}
        for k in range(count):
            try:
                pixels = read(k)
                if content is not None:
                    content.add(pixels)
                shape = pixels.shape[:2]
                sizes[shape] = sizes.get(shape, 0) + 1
            except DataError as error:
                unread[name(k)] = str(error)
            except OSError as error:
                unread[name(k)] = f"{name(k)}: it cannot be read ({error.strerror or error})"
            if self.progress is not None:
                self.progress(k + 1, count)
        ordered = sorted(sizes.items(), key=lambda item: -item[1])
        first = ", ".join(f"{w} x {h} ({n:,})" for (h, w), n in ordered[:4])
        facts["sizes"] = first + (" ..." if len(sizes) > 4 else "")
        facts["decoded"] = f"{count - len(unread):,} of {count:,}"
        problems += pack_checks.shortened(list(unread.values()), "images")
        if expected and any(size != expected for size in sizes):
            problems.append(
                f"property says {expected[1]} x {expected[0]} pixels, there are images of other "
                f"sizes"
            )
        elif one_size and len(sizes) > 1:
            problems.append(f"the images have {len(sizes)} different sizes")
        return None if unread or content is None or labels is None else content.finish(labels)

    def _copy(self, path: Path, digest: str | None) -> None:
        """Which of the known copies it is, and the hashes that say so."""
        if self.quick and path.suffix == ".rec":
            return  # tens of gigabytes to hash
        file = sha256(path)
        self.found.facts["file SHA-256"] = file
        if digest is not None:
            self.found.facts["pixels and labels SHA-256"] = digest
        self.found.facts["copy"] = copies.words(path, file, digest)


def _record(pack: Pack, row: int) -> str:
    return f"record {pack.keys[pack.records[row]]}"


def _not_upright(names: list[str]) -> list[str]:
    if not names:
        return []
    return [
        f"{len(names):,} images carry an EXIF orientation, the first is {names[0]}: stored in a "
        f"pack or bin, it is "
        "ignored by some programs and followed by others; make it anew from the original files"
    ]


def _packing(path: Path) -> dict[str, str]:
    """What the report of our own packer says was left out."""
    report = read_json(path) if path.is_file() else None
    skipped, left_out = (
        report.get(key) if isinstance(report, dict) else None for key in ("skipped", "left_out")
    )
    if not isinstance(skipped, dict) or not isinstance(left_out, dict):
        return {}
    return {"when packed": f"{len(skipped):,} images skipped, {len(left_out):,} files left out"}


def _spread(counts: NDArray[np.int64]) -> dict[str, str]:
    if len(counts) == 0:
        return {}
    median = float(np.median(counts))
    return {"images an identity": f"{counts.min():,} to {counts.max():,}, median {median:g}"}
