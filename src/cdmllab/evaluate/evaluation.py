"""What was measured by a protocol, kept beside the run it was measured on."""

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
    """The scores of a protocol's pairs, and what was measured on them.

    `measures` goes to ``<name>.json``, the arrays go to ``<name>.npz``. (Not Parquet: three
    columns, read back by what reads everything else here, are not worth a package of 100 MB.)
    """

    name: str  # of the files: the protocol's, and "__flip" with the mirrored images added
    scores: NDArray[np.float64]  # [p] cosine
    same: NDArray[np.bool_]  # [p]
    fold: NDArray[np.int64]  # [p]
    measures: Measures

    def write(self, folder: Path | str) -> Path:
        """Write both files, the ``.json`` last, so that where it stands the other stands too;
        returns its path.
        """
        path = Path(folder) / f"{self.name}.json"
        with replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, scores=self.scores, is_same=self.same, fold=self.fold)
        write_text(path, json.dumps(self.measures.to_json(), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read what `write` wrote, by the path of its ``.json``.

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
            why = str(error).replace(f"{path.parent}/", "")  # the folder is named once
            raise DataError(plain(f"{plain(path, 200)} is not an evaluation: {why}")) from error

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which pairs are judged wrongly, shape (p,): each by the threshold that is best on the
        other folds.

        Without folds, by the threshold that is best on all.
        """
        folds, fold = np.unique(self.fold, return_inverse=True)
        thresholds = np.array([verification.best_threshold(self.scores, self.same)])
        if len(folds) > 1:
            thresholds = verification.fold_accuracy(self.scores, self.same, self.fold).thresholds
        wrong: NDArray[np.bool_] = (self.scores >= thresholds[fold]) != self.same
        return wrong


def file_name(protocol: str, flip: bool) -> str:
    """What an evaluation's files are called: the protocol's name without slashes.

    Of a protocol that is a file, the file's name and some digits of its path's SHA-256: others may
    be called alike.
    """
    name, path = protocol.replace("/", "-"), Path(protocol)
    if path.suffix:
        name = f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    return f"{name}__flip" if flip else name
