"""The registry of data sets: each fact about a data set, stated once in ``registry.yaml``.

The scripts of ``data_scripts/``, the readers, presets, protocols, downloads and the book's page of
data sets all read their facts here. What mirrors are reported to have may have changed since: sizes
and hashes are given only where somebody reports them.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cdmllab._util.files import leads_outside, read_yaml
from cdmllab._util.validation import first_error
from cdmllab.data import paths
from cdmllab.errors import DataError, did_you_mean, plain

TABLE = Path(__file__).with_suffix(".yaml")
_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")  # of Markdown: text, address

Counts = Mapping[str, int | tuple[int, int]]  # exact numbers, or (least, most)
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mirror(_Part):
    """An address of a file; exactly one of the three kinds is given.

    Attributes
    ----------
    url : plain HTTP(S)
    huggingface : ``owner/name`` of a data set on the Hugging Face hub; `path` is the file in it
    google_drive : the file's id
    """

    url: str | None = None
    huggingface: str | None = None
    path: str | None = None
    google_drive: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        # Exactly one kind of address, so that `homes.get` knows the client.
        given = [key for key in ("url", "huggingface", "google_drive") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError("a mirror has exactly one of url, huggingface and google_drive")
        if (self.huggingface is None) != (self.path is None):
            raise ValueError("path belongs to huggingface: the file within that data set")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{plain(self.url, 80)} is not an http or https address")
        return self

    def __str__(self) -> str:
        if self.url is not None:
            return self.url
        if self.huggingface is not None:
            return f"Hugging Face {self.huggingface}, {self.path}"
        return f"Google Drive {self.google_drive}"


class RemoteFile(_Part):
    """A file as it is published, and its place below a data folder.

    Attributes
    ----------
    path : below the data folder
    bytes : its size; None where nobody reports it
    about_bytes : the approximate size, where the exact one is not known
    sha256 : where known
    mirrors : in the order in which they are tried; a file without any is never downloaded
    unpack : the folder, below the data folder, that an archive is unpacked to
    holds : a file that must be in the unpacked folder, such as ``train.rec``
    """

    path: str
    bytes: int | None = Field(default=None, ge=0)
    about_bytes: int | None = Field(default=None, ge=0)
    sha256: Digest | None = None
    mirrors: tuple[Mirror, ...] = ()
    unpack: str | None = None
    holds: str | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for name in (self.path, self.unpack or "x", self.holds or "x"):  # "x" leads nowhere
            if leads_outside(name):
                raise ValueError(f"{plain(name, 80)} leads out of the data folder")
        if (self.unpack is None) != (self.holds is None):
            raise ValueError("unpack and holds go together: a folder, and a file expected in it")
        return self

    @property
    def size(self) -> int:
        """Bytes to download, exact if known, else approximate; 0 if neither is known."""
        return self.bytes if self.bytes is not None else self.about_bytes or 0


class VerificationProtocol(_Part):
    """A protocol whose files a script creates or checks."""

    title: str
    kind: Literal["pairs", "templates"] = "pairs"


class PublicCopy(_Part):
    """One of several public files of the same name; see `cdmllab.data.copies`."""

    sha256: str  # of the file; only its first digits where no more is reported
    bytes: int | None = None
    content_sha256: Digest | None = None
    note: str
    odd: bool = False  # it gives other numbers than most


class DataSet(_Part):
    """A data set: its terms, its source, the files it needs, and what becomes of them.

    Attributes
    ----------
    name : the key in the registry; the script is ``data_scripts/<name>.py``
    title, label : the full name, and a short one for tables
    cite, bibliography : authors and year; keys of the book's bibliography
    contents, history : its size, and how it was collected, as its makers report them
    licence : as its makers state it
    by_request : a person has to fill in a form or open an account
    source : where to get it, in Markdown; the first link is the page to visit
    needs, optional : files and folders below a data folder by role; the first that exists is used
    layout : what these files look like inside, in Markdown
    pack : InsightFace's pack of the same data, a folder below a data folder that is read as it is
    makes, checks : outputs of the script, and inputs it only counts, with the expected counts
    protocols : verification protocols by name
    copies : known public copies of a bin, by its name
    reported : where and when `files` were reported
    script : whether there is a script
    """

    name: str
    title: str
    label: str
    cite: str = ""
    bibliography: tuple[str, ...] = ()
    contents: str
    history: str = ""
    licence: str
    by_request: bool = False
    source: str
    needs: Mapping[str, tuple[str, ...]] = {}
    optional: Mapping[str, tuple[str, ...]] = {}
    layout: str = ""
    pack: str | None = None
    makes: Mapping[str, Counts] = {}
    checks: Mapping[str, Counts] = {}
    protocols: Mapping[str, VerificationProtocol] = {}
    copies: Mapping[str, tuple[PublicCopy, ...]] = {}
    reported: str = ""
    files: tuple[RemoteFile, ...] = ()
    script: bool = True

    @property
    def plain_source(self) -> str:
        """`source` for a terminal: the address of a link follows its text in brackets."""
        return _LINK.sub(r"\1 (\2)", self.source)

    @property
    def page(self) -> str:
        """The page where a person can get it: the first link of `source`, else all of `source`."""
        link = _LINK.search(self.source)
        return link[2] if link else self.source

    @property
    def command(self) -> str:
        """The command that runs its script."""
        return f"python data_scripts/{self.name}.py"

    @property
    def how_to_get(self) -> str:
        """How to get it, in one sentence, for an error message."""
        place = f"a data folder (${paths.VARIABLE}, or data/)"
        if not self.needs:
            return f"{self.label} is in no data folder: `{self.command}` downloads it into {place}"
        files = " and ".join(
            # A role's first file is the one to get; others do as well.
            first + (f" (or {', '.join(others)})" if others else "")
            for first, *others in self.needs.values()
        )
        return (
            f"{self.label}: {place} needs {files}; `{self.command} --dry-run` reports what is "
            f"missing and where to get it"
        )

    @property
    def downloads(self) -> tuple[RemoteFile, ...]:
        """The files that have a mirror."""
        return tuple(file for file in self.files if file.mirrors)

    @property
    def bytes(self) -> int:
        """The size of all downloads together."""
        return sum(file.size for file in self.downloads)

    def places(self, role: str) -> tuple[str, ...]:
        """The files or folders of one role, such as ``"images"``; the first that exists is used."""
        return {**self.needs, **self.optional}[role]

    def counts(self, output: str) -> dict[str, tuple[int, int]]:
        """The least and most of each count of an output or checked input; empty if none is known.

        For ``lfw_112``: its ``images`` and ``identities``.
        """
        # An exact number is a range of one.
        known = {**self.makes, **self.checks}.get(output, {})
        return {what: (n, n) if isinstance(n, int) else n for what, n in known.items()}

    def pack_count(self, what: str) -> tuple[int, int] | None:
        """The least and most ``images`` or ``identities`` of a training set's pack."""
        return next((c[what] for c in map(self.counts, self.makes) if what in c), None)


class Registry(_Part):
    """All data sets, by name."""

    sets: Mapping[str, DataSet]

    def get(self, name: str) -> DataSet:
        """One data set.

        Raises
        ------
        DataError : there is none of that name; the nearest is named
        """
        if name not in self.sets:
            hint = did_you_mean(name, self.sets)
            raise DataError(f"no data set {name!r}{hint}; the registry has: {', '.join(self.sets)}")
        return self.sets[name]

    def maker(self, output: str) -> DataSet | None:
        """The data set whose script creates a file or folder, such as ``lfw_112``."""
        return next((one for one in self.sets.values() if output in one.makes), None)


def read(path: Path) -> Registry:
    """Read a registry.

    Raises
    ------
    DataError : it is missing, or an entry is malformed; the key is named
    """
    sets: dict[str, Any] = read_yaml(path)
    # The key of an entry is its name, so the file states it once.
    for name, entry in sets["sets"].items() if isinstance(sets.get("sets"), dict) else ():
        if isinstance(entry, dict):
            entry["name"] = name
    try:
        # As JSON, because a strict model takes a list for a tuple only there.
        return Registry.model_validate_json(json.dumps(sets))
    except ValidationError as error:
        key, message = first_error(error)
        raise DataError(f"{path}, {key}: {plain(message, 200)}") from None


def span(limits: tuple[int, int]) -> str:
    """A number, or a range, for a message."""
    least, most = limits  # inclusive
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


@cache
def load() -> Registry:
    """The package's own registry."""
    return read(TABLE)


def get(name: str) -> DataSet:
    """A data set of the package's registry; see `Registry.get`."""
    return load().get(name)
