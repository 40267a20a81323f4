"""An evaluation: the scores and measures of a network on a protocol, and their two files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import replacing, write_text
from cdmllab.data import npz
from cdmllab.errors import DataError, plain
from cdmllab.evaluate.measures import Measures
from cdmllab.metrics import verification


@dataclass(frozen=True)
class Evaluation:
    """The scores of a protocol's pairs, and the measures computed from them.

    `measures` goes to ``<name>.json``, the arrays to ``<name>.npz``.
    """

    name: str  # of the files: the protocol's name, then "__flip" if mirrored images were added
    scores: NDArray[np.float64]  # [p] cosine
    same: NDArray[np.bool_]  # [p]
    fold: NDArray[np.int64]  # [p]
    measures: Measures

    def write(self, folder: Path | str) -> Path:
        """Write both files and return the path of the ``.json``.

        The ``.json`` is written last: if it exists, so does the ``.npz``.
        """
        path = Path(folder) / f"{self.name}.json"
        with replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, scores=self.scores, is_same=self.same, fold=self.fold)
        write_text(path, json.dumps(self.measures.to_json(), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read an evaluation by the path of its ``.json``.

        Raises
        ------
        DataError : one of the two files is missing or cannot be read
        """
        path = Path(path)
        try:
            measures = Measures.read(path)
            with npz.opened(path.with_suffix(".npz")) as arrays:
                return cls(path.stem, arrays["scores"], arrays["is_same"], arrays["fold"], measures)
        except DataError as error:
            why = str(error).replace(f"{path.parent}/", "")  # name the folder only once
            raise DataError(plain(f"{plain(path, 200)} is not an evaluation: {why}")) from error

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether each pair is misjudged, shape (p,).

        The threshold of a fold is the best one on all other folds; with a single fold, it is the
        best one on all pairs.
        """
        folds, fold = np.unique(self.fold, return_inverse=True)
        # One threshold for all pairs; with several folds, one per fold replaces it.
        thresholds = np.array([verification.best_threshold(self.scores, self.same)])
        if len(folds) > 1:
            thresholds = verification.fold_accuracy(self.scores, self.same, self.fold).thresholds
        wrong: NDArray[np.bool_] = (self.scores >= thresholds[fold]) != self.same
        return wrong


def file_name(protocol: str, flip: bool) -> str:
    """The name of an evaluation's files: the protocol's name, with slashes replaced.

    For a protocol from a file it ends in digits of the path's SHA-256, since files in different
    folders may have the same name.
    """
    name, path = protocol.replace("/", "-"), Path(protocol)
    if path.suffix:
        name = f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    return f"{name}__flip" if flip else name
