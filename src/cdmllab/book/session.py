"""The session of a notebook: parameters, device, scratch folder, tables and wording."""

import ast
import os
import re
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch

from cdmllab.errors import did_you_mean, optional

Profile = Literal["cpu", "gpu"]


class Lab(NamedTuple):
    """The environment of a notebook."""

    profile: Profile
    seed: int
    device: Literal["cpu", "cuda"]
    runs: Path  # temporary folder for training runs, removed when the kernel ends


class Table(NamedTuple):
    """A small table, rendered as Markdown by Jupyter and the book; numbers are right-aligned."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def _repr_markdown_(self) -> str:
        rule = [
            "---",
            # The first column has names, aligned to the left.
            *("--:" if self._is_numbers(k) else "---" for k in range(1, len(self.columns))),
        ]
        lines = [self.columns, rule, *self.rows]
        return "\n".join("| " + " | ".join(map(_in_table, line)) + " |" for line in lines)

    def _is_numbers(self, column: int) -> bool:
        """Whether every cell of a column begins with a number, is empty or is a dash."""
        cells = [str(row[column]) for row in self.rows]
        # A digit after an optional sign or <; a dash; or nothing.
        return any(cells) and all(re.match(r"[<+\-−]?\d|[-–]?$", cell) for cell in cells)


def _in_table(cell: object) -> str:
    """Format a cell: floats with six digits, and no line break after a plus-minus sign."""
    text = f"{cell:g}" if isinstance(cell, float) else str(cell)
    return text.replace("± ", "±\N{NO-BREAK SPACE}")


def start(profile: str, seed: int) -> Lab:
    """Check the injected parameters, choose the device, and print both in one line.

    torch uses one thread, or as many as $CDMLLAB_THREADS says.

    Parameters
    ----------
    profile : ``"cpu"``, or ``"gpu"`` to use CUDA if there is a device
    seed : seed of everything random in the notebook

    Raises
    ------
    ValueError : unknown profile, or a parameter that the notebook does not have (papermill only
        logs a warning and continues with the default)
    """
    _reject_unknown_parameters()
    if profile not in get_args(Profile):
        raise ValueError(f"profile must be 'cpu' or 'gpu', got {profile!r}")
    device: Literal["cpu", "cuda"] = "cpu"
    if profile == "cpu":
        print(f"Profile cpu, seed {seed}.")
    elif torch.cuda.is_available():
        device = "cuda"
        print(f"Profile gpu, seed {seed}, on {torch.cuda.get_device_name()}.")
    else:
        print(f"Profile gpu, seed {seed}, but no CUDA device was found: running on the CPU.")
    # On a busy machine two threads wait for each other far longer than they compute.
    torch.set_num_threads(int(os.environ.get("CDMLLAB_THREADS", "1")))
    scratch = tempfile.TemporaryDirectory(prefix="cdmllab-runs-")
    _SCRATCH.append(scratch)  # or the folder would be removed at once
    return Lab("gpu" if profile == "gpu" else "cpu", seed, device, Path(scratch.name))


_SCRATCH: list[tempfile.TemporaryDirectory[str]] = []  # keeps the folders until the kernel ends


def report(**values: object) -> None:
    """Store values for a chapter's prose, which refers to them as ``{glue:text}`name:.2f```.

    Scalars of NumPy and PyTorch are converted to Python numbers.
    """
    with optional("book", "a value in a chapter's prose"):
        from myst_nb import glue  # needed for building the book only

    for name, value in values.items():
        plain = value.item() if isinstance(value, np.generic | torch.Tensor) else value
        glue(name, plain, display=False)


def mean_sd(values: Sequence[float]) -> str:
    """Format shares as per cent for a table: mean and sample standard deviation, "97.3 ± 0.4".

    A single value has no standard deviation.
    """
    percent = [100.0 * v for v in values]
    mean = statistics.fmean(percent)
    return f"{mean:.1f} ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else f"{mean:.1f}"


def p_value(p: float) -> str:
    """Format a p-value for a table with three digits; "<0.001" instead of 0.000."""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def comparison(a: float, b: float, more: str = "above", less: str = "below") -> str:
    """The word that compares `a` with `b` in prose: "above", "below" or "level with".

    A sentence that uses it stays true whatever the results of a run are.
    """
    return more if a > b else less if a < b else "level with"


def unknown_parameters(cells: Iterable[str]) -> dict[str, str]:
    """Names assigned in papermill's injected cell but not before it, with a spelling suggestion.

    Parameters
    ----------
    cells : sources of the code cells run so far; the injected cell starts with ``# Parameters``
    """
    known: set[str] = set()
    for source in cells:
        assigned = _assigned(source)
        if source.startswith("# Parameters"):
            return {name: did_you_mean(name, known) for name in assigned if name not in known}
        known.update(assigned)
    return {}


def _reject_unknown_parameters() -> None:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    # The first entry of IPython's history is always empty.
    for name, hint in unknown_parameters(shell.user_ns.get("In", [])[1:]).items():
        raise ValueError(f"this notebook has no parameter {name!r}{hint}")


def _assigned(source: str) -> list[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with a %magic cannot be parsed, and sets no parameter
        return []
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
