"""Open a stored training set of any format."""

from pathlib import Path

import numpy as np

from cdmllab.data import folders, lmdb_sets, parquet, webdataset
from cdmllab.data.decode import Colour, stored
from cdmllab.data.encoded import EncodedSet
from cdmllab.data.packs import Pack
from cdmllab.data.sets import TrainingSet
from cdmllab.data.walk import files_in
from cdmllab.errors import DataError


class FolderSet(EncodedSet):
    """A folder with one folder of images per person, read on access.

    `cdmllab.data.folders.load` reads all into memory. Images are not turned by their EXIF
    orientation here; `cdmllab pack` does that once.
    """

    def __init__(self, path: Path | str, *, colour: Colour = "RGB", fast: bool = False) -> None:
        people = folders.listing(path)
        self.files, self.names = people.files, people.names
        super().__init__(Path(path), np.asarray(people.labels), colour=colour, fast=fast)

    def image(self, row: int) -> bytes:
        """The encoded image of a row."""
        return bytes(stored(self.files[row]))

    def where(self, row: int) -> str:
        """How a row is named in an error."""
        return str(self.files[row])


def open_set(path: Path | str, *, colour: Colour = "RGB") -> TrainingSet:
    """Open a pack, WebDataset shards, Parquet files, an LMDB environment or a folder of people.

    Raises
    ------
    DataError : it does not exist or is none of these, or its reader refuses it
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    # From the format that is easiest to recognise to the one that fits any folder.
    if path.suffix == ".rec" or (path.is_dir() and files_in(path, "*.rec")):
        return Pack(path, colour=colour)
    if path.name.endswith(webdataset.ENDINGS) or _holds(path, *webdataset.ENDINGS):
        return webdataset.WebDataset(path, colour=colour)
    if path.suffix == ".parquet" or (path.is_dir() and files_in(path, "**/*.parquet")):
        return parquet.ParquetSet(path, colour=colour)
    if lmdb_sets.is_environment(path):
        return lmdb_sets.LmdbSet(path, colour=colour)
    if path.is_dir():
        return FolderSet(path, colour=colour)
    raise DataError(
        f"{path} is not a training set: neither a pack, shards, Parquet, LMDB nor identity folders"
    )


def _holds(path: Path, *endings: str) -> bool:
    return path.is_dir() and any(f.name.endswith(endings) for f in files_in(path, "*"))
