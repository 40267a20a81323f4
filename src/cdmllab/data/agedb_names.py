"""The names in AgeDB's protocol file, read in a separate process.

SciPy's reader of MATLAB files trusts the lengths and types in them. A damaged file can make it
access invalid memory, which kills Python without an exception. So `read` passes the content to
``python -m cdmllab.data.agedb_names``, which has limits on time and memory.
"""

import io
import json
import resource
import signal
import subprocess
import sys
from typing import Any

from cdmllab._util.processes import limit
from cdmllab.errors import DataError, cause, plain, require

MOST_BYTES = 64 << 20  # of a file; AgeDB's own has a few hundred thousand bytes
MOST_PAIRS = 1_000_000
CPU_S, TIME_S, MEMORY = 30, 300, 4 << 30  # TIME_S is wall-clock time, for busy machines
# -P: modules in the current folder are ignored.
COMMAND = (sys.executable, "-P", "-m", "cdmllab.data.agedb_names")

Names = list[list[tuple[str, str]]]
"""The two names of each pair, by fold."""


def read(content: bytes, where: str) -> Names:
    """The names in the content of a file.

    Raises
    ------
    DataError : it is not a MATLAB file of this form, or reading it crashes or takes too long
    """
    require("analysis", "AgeDB's protocol file", "scipy")
    try:
        done = subprocess.run(
            COMMAND, input=content, capture_output=True, timeout=TIME_S, check=False
        )
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = -signal.SIGXCPU  # as if the limit on CPU time had ended it
    if code == -signal.SIGXCPU:
        raise DataError(f"{where} is not a protocol file of AgeDB: reading it takes too long")
    # Ended by a signal, such as a segmentation fault, or by Python itself.
    if code:
        raise DataError(
            f"{where} is not a protocol file of AgeDB: it is so damaged that reading it crashes"
        )
    names = json.loads(done.stdout)
    if isinstance(names, str):  # an error message
        raise DataError(f"{where} is not a protocol file of AgeDB ({names})")
    return [[(first, second) for first, second in fold] for fold in names]


def main() -> None:
    """Read a file from standard input; write its names, or an error message, as JSON."""
    # No core dump; the child is stopped before it can exhaust the machine.
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, CPU_S, CPU_S + 1)
    limit(resource.RLIMIT_AS, MEMORY)
    try:
        result: Names | str = _names(sys.stdin.buffer.read())
    except Exception as error:
        result = plain(f"{type(error).__name__}: {cause(error)}", 200)
    print(json.dumps(result))


def _names(content: bytes) -> Names:
    from scipy.io import loadmat

    # `splits` has a cell for each fold, with an array
    # of 2 x n images whose first field is the name.
    splits = loadmat(io.BytesIO(content))["splits"]
    names_by_fold: Names = []
    for fold in range(splits.shape[0]):
        images = _innermost(splits[fold, 0], 2)
        # A small compressed file can declare many pairs; refuse before their names are collected.
        if images.size > 2 * MOST_PAIRS:
            raise ValueError("it has too many pairs")
        names = [
            [str(_innermost(images[row, k], 1)[0]) for row in range(2)]
            for k in range(images.shape[1])
        ]
        names_by_fold.append([(first, second) for first, second in names])
    return names_by_fold


def _innermost(cell: Any, ndim: int) -> Any:
    """Unwrap MATLAB's cells and structs of one element until an array with content is left."""
    inner = cell
    # A limit, because a damaged file may nest without end.
    for _ in range(8):
        if inner.dtype.names:
            inner = inner[inner.dtype.names[0]]
        if inner.dtype != object or inner.size != 1:
            break
        inner = inner.reshape(-1)[0]
    if inner.ndim != ndim or inner.size == 0:
        raise ValueError(f"expected an array of {ndim} dimensions, got shape {inner.shape}")
    return inner


if __name__ == "__main__":
    main()
