"""Where data sets can be had: homes, sizes, hashes, licences, as others report them; typed and
validated.

The table is ``mirrors.yaml`` beside this module. It records what public pages and repositories say,
and the month in which they were read. A mirror listed there may be gone by the time you ask it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cdmllab._util.files import leads_outside, read_yaml
from cdmllab.errors import DataError, did_you_mean, plain

TABLE = Path(__file__).with_name("mirrors.yaml")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mirror(_Part):
    """One home of a file; exactly one of the three is given.

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
        given = [key for key in ("url", "huggingface", "google_drive") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError("a mirror has one of url, huggingface and google_drive")
        if (self.huggingface is None) != (self.path is None):
            raise ValueError("path belongs to huggingface: the file within that data set")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{plain(self.url, 80)} is no http or https address")
        return self

    def __str__(self) -> str:
        if self.url is not None:
            return self.url
        if self.huggingface is not None:
            return f"Hugging Face {self.huggingface}, {self.path}"
        return f"Google Drive {self.google_drive}"


class RemoteFile(_Part):
    """A file as it is handed out, and where it lies below a data folder.

    Attributes
    ----------
    path : below the data folder
    bytes : its size; None where nobody reports it
    about_bytes : roughly, where the exact size is not known
    sha256 : where known
    unpack : the folder, below the data folder, that an archive is unpacked to
    holds : a file that the unpacked folder has to hold, such as ``train.rec``
    """

    path: str
    bytes: int | None = Field(default=None, ge=0)
    about_bytes: int | None = Field(default=None, ge=0)
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    mirrors: tuple[Mirror, ...] = ()
    unpack: str | None = None
    holds: str | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for name in (self.path, self.unpack or "x", self.holds or "x"):
            if leads_outside(name):
                raise ValueError(f"{plain(name, 80)} leads out of the data folder")
        if (self.unpack is None) != (self.holds is None):
            raise ValueError("unpack and holds go together: where to, and what is looked for there")
        return self

    @property
    def size(self) -> int:
        """Bytes to fetch, the rough number where the exact one is not known; 0 if neither is."""
        return self.bytes if self.bytes is not None else self.about_bytes or 0


class Set(_Part):
    """A data set and its files.

    Attributes
    ----------
    licence, history : what a person has to know before using it
    page : where a person can get it by hand
    identities, images : (least, most) that the finished pack has to hold; None for evaluation files
    folder : of the pack, below the data folder, once everything is fetched and unpacked
    """

    title: str
    licence: str
    history: str
    page: str
    reported: str
    files: tuple[RemoteFile, ...] = ()
    folder: str | None = None
    identities: tuple[int, int] | None = None
    images: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)


class Sets(_Part):
    """The whole table, by the names that the commands use."""

    sets: Mapping[str, Set]

    def get(self, name: str) -> Set:
        """One set.

        Raises
        ------
        DataError : there is none of that name; the nearest is named
        """
        if name not in self.sets:
            hint = did_you_mean(name, self.sets)
            raise DataError(
                f"there is no data set {name!r}{hint}; there are: {', '.join(self.sets)}"
            )
        return self.sets[name]


def read(path: Path) -> Sets:
    """Read a table of mirrors.

    Raises
    ------
    DataError : it is missing, or not of this form; the key is named
    """
    values = read_yaml(path)
    try:
        return Sets.model_validate_json(_as_json(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{path}, {plain(where, 100)}: {plain(said, 200)}") from None


@cache
def known() -> Sets:
    """The package's own table."""
    return read(TABLE)


def _as_json(values: dict[str, Any]) -> str:
    import json

    return json.dumps(values, default=str)
