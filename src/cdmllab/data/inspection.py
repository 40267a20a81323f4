"""Inspect a data file from end to end: describe its content and list every problem."""

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
from cdmllab.data.image_checks import Source, decode_all, orientation_problem
from cdmllab.data.packing import REPORT
from cdmllab.data.packs import Pack, read_property
from cdmllab.data.packwriter import CHECKSUMS
from cdmllab.data.walk import LeftOut, files_in, summary
from cdmllab.errors import DataError, reading

Progress = Callable[[int, int], None]


class Findings(NamedTuple):
    """The result of an inspection."""

    kind: str  # "pack", "bin", "protocol" or "folder"
    facts: dict[str, str]  # description of the content, in the order of the report
    problems: list[str]  # sentences; empty if the file is sound
    unread: dict[str, str]  # image that cannot be read or decoded -> reason
    left_out: list[LeftOut]  # files and folders of an identity folder that are not read


def inspect(
    path: Path | str,
    *,
    quick: bool = False,
    ignore: Iterable[str] = (),
    progress: Progress | None = None,
) -> Findings:
    """Inspect a pack, a verification bin, a protocol or an identity folder.

    A pack is a folder or a ``.rec``, a bin a ``.bin`` or ``.npz``, a protocol an ``.npz``. Damage
    that stops the reading is listed among the problems; only files of other kinds raise an error.

    Parameters
    ----------
    quick : do not decode the images
    ignore : patterns of files and folders to skip in an identity folder, see
        `cdmllab.data.walk.walk`
    progress : called with the number of images inspected and the number of all images

    Raises
    ------
    DataError : `path` does not exist or is of no known kind
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    # The kind by path and content; a folder with a .rec is a pack, any other has identity folders.
    if path.is_dir():
        kind = "pack" if files_in(path, "*.rec") else "folder"
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
    findings = Findings(kind, {}, [], {}, [])
    inspection = _Inspection(findings, quick, progress)
    try:
        with reading(path, "readable"):
            if kind == "pack":
                inspection.pack(path)
            elif kind == "protocol":
                facts, problems = protocol_checks.inspect(path)
                findings.facts.update(facts)
                findings.problems.extend(problems)
            elif kind == "bin":
                inspection.bin(path)
            else:
                inspection.folder(path, ignore)
    # Damage is a finding, not a failure of the inspection.
    except DataError as error:
        findings.problems.append(str(error))
    except OSError as error:
        findings.problems.append(
            f"{error.filename or path} cannot be read ({error.strerror or error})"
        )
    return findings


def write_report(path: Path | str, findings: Findings) -> None:
    """Write all findings as JSON, with a reason for every unread image and file left out."""
    left_out = {item.name: item.why for item in findings.left_out}
    report = {**findings._asdict(), "left_out": left_out}
    write_text(path, json.dumps(report, indent=1) + "\n")


class _Inspection(NamedTuple):
    """An inspection in progress; its methods add to `findings`."""

    findings: Findings
    quick: bool
    progress: Progress | None

    def pack(self, path: Path) -> None:
        facts, problems = self.findings.facts, self.findings.problems
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
        # The index duplicates what the scan of records finds: compare the two.
        if indexed:
            try:
                problems += pack_checks.index(pack)
            except DataError as error:
                problems.append(str(error))
        # Compare what the header, the property file and the records themselves declare.
        gaps = pack.gaps()
        if len(gaps):
            problems.append(f"{len(gaps):,} identities have no image, the first is {gaps[0]}")
        declared = read_property(folder / "property")
        if declared is not None and pack.header and declared.num_identities != pack.num_identities:
            problems.append(
                f"property says {declared.num_identities:,} identities, the header "
                f"{pack.num_identities:,}"
            )
        if declared is not None and declared.images not in (None, len(pack)):
            problems.append(f"property says {declared.images:,} images, the pack has {len(pack):,}")
        problems += pack_checks.ranges(pack)
        if (folder / CHECKSUMS).is_file():
            problems += pack_checks.checksums(pack, folder / CHECKSUMS)
            facts["checksums"] = "checked"
        not_upright: list[str] = []

        # Decode strictly, and note records that some programs would turn.
        def read(row: int) -> NDArray[np.uint8]:
            image, where = pack.image(row), _record(pack, row)
            if orientation.of_jpeg(image) != orientation.UPRIGHT:
                not_upright.append(where)
            return decode(image, where, strict=True, upright=False)

        expected = (declared.height, declared.width) if declared else None
        digest = self._images(
            read,
            lambda row: _record(pack, row),
            len(pack),
            expected,
            labels=pack.labels,
            source=Source(
                str(pack.path),
                lambda: pack.file.size,
                lambda row: int(pack.file.offsets[pack.records[row]]),
            ),
        )
        self._copy(pack.path, digest)
        problems += orientation_problem(not_upright)

    def bin(self, path: Path) -> None:
        facts, problems = self.findings.facts, self.findings.problems
        source = bins.read(path)
        count = len(source.images)
        genuine, impostor = int(source.same.sum()), int((~source.same).sum())
        facts["images"] = f"{count:,}"
        facts["pairs"] = f"{len(source.same):,} ({genuine:,} genuine, {impostor:,} impostor)"
        jpegs = sum(isinstance(image, bytes) for image in source.images)
        facts["stored as"] = "JPEG" if jpegs == count else f"pixels ({count - jpegs:,})"
        described, faults = protocol_checks.in_a_row(source.same, bins.FOLDS)
        facts["folds"] = described
        problems += faults
        not_upright: list[str] = []

        def read(k: int) -> NDArray[np.uint8]:
            image = source.images[k]
            if isinstance(image, bytes) and orientation.of_jpeg(image) != orientation.UPRIGHT:
                not_upright.append(f"image {k}")
            return source.image(k, strict=True)

        origin = Source(str(path), source.stored_bytes, lambda k: id(source.images[k]))
        self._copy(
            path,
            self._images(read, lambda k: f"image {k}", count, labels=source.same, source=origin),
        )
        problems += orientation_problem(not_upright)

    def folder(self, path: Path, ignore: Iterable[str]) -> None:
        facts = self.findings.facts
        people = listing(path, ignore=ignore)
        facts["images"] = f"{len(people.files):,}"
        facts["identities"] = f"{people.num_identities:,}"
        facts |= _spread(np.bincount(people.labels))
        self.findings.left_out.extend(people.left_out)
        # Harmless files, such as lists, are a fact; images that are not read are a problem.
        harmless = summary(item for item in people.left_out if item.harmless)
        if harmless:
            facts["left out"] = "; ".join(harmless)
        harmful = summary(item for item in people.left_out if not item.harmless)
        self.findings.problems.extend(f"left out {line}" for line in harmful)

        def name(row: int) -> str:
            return below(people.files[row], path)

        def read(row: int) -> NDArray[np.uint8]:
            return decode(stored(people.files[row]), name(row), strict=True)

        self._images(read, name, len(people.files), one_size=False)

    def _images(
        self,
        read: Callable[[int], NDArray[np.uint8]],
        name: Callable[[int], str],
        count: int,
        expected: tuple[int, int] | None = None,
        one_size: bool = True,
        labels: NDArray[np.generic] | None = None,
        source: Source | None = None,
    ) -> str | None:
        """Decode all images, unless the inspection is quick, and compare their sizes.

        Returns the digest of pixels and labels if there are labels and every image can be decoded,
        else None.
        """
        if self.quick:
            return None
        facts, problems, unread = self.findings.facts, self.findings.problems, self.findings.unread
        # The digest of the content is computed along the way, since decoding is what takes time.
        content = None if labels is None else copies.ContentDigest()
        sizes = decode_all(read, name, count, unread, content, source, self.progress)
        ordered = sorted(sizes.items(), key=lambda item: -item[1])  # most frequent first
        first = ", ".join(f"{w} x {h} ({n:,})" for (h, w), n in ordered[:4])
        facts["sizes"] = first + (" ..." if len(sizes) > 4 else "")
        facts["decoded"] = f"{count - len(unread):,} of {count:,}"
        problems += pack_checks.shortened(list(unread.values()), "images")
        if expected and any(size != expected for size in sizes):
            problems.append(
                f"property says {expected[1]} x {expected[0]} pixels, but there are images of "
                f"other sizes"
            )
        elif one_size and len(sizes) > 1:
            problems.append(f"the images have {len(sizes)} different sizes")
        return None if unread or content is None or labels is None else content.finish(labels)

    def _copy(self, path: Path, digest: str | None) -> None:
        """Add the hashes of the file and its content, and the known copy that they belong to."""
        if self.quick and path.suffix == ".rec":
            return  # hashing tens of gigabytes is not quick
        file = sha256(path)
        self.findings.facts["file SHA-256"] = file
        if digest is not None:
            self.findings.facts["pixels and labels SHA-256"] = digest
        self.findings.facts["copy"] = copies.describe(path, file, digest)


def _record(pack: Pack, row: int) -> str:
    return f"record {pack.keys[pack.records[row]]}"


def _packing(path: Path) -> dict[str, str]:
    """The numbers of images and files left out, from the report of our own packer."""
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
    return {"images per identity": f"{counts.min():,} to {counts.max():,}, median {median:g}"}
