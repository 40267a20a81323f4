"""What every chapter's notebook starts with: its parameters checked, a device, a place for its
runs.
"""

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
    """Where a notebook runs."""

    profile: Profile
    seed: int
    device: Literal["cpu", "cuda"]
    runs: Path  # a folder of its own for training runs, gone when the kernel ends


class Table(NamedTuple):
    """A small table that Jupyter and the book render from Markdown; columns of numbers are flush
    right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def _repr_markdown_(self) -> str:
        rule = [
            "---",
            *("--:" if self._is_numbers(k) else "---" for k in range(1, len(self.columns))),
        ]
        lines = [self.columns, rule, *self.rows]
        return "\n".join("| " + " | ".join(map(_in_table, line)) + " |" for line in lines)

    def _is_numbers(self, column: int) -> bool:
        """Whether what stands in a column begins with a number, or is empty or a dash."""
        cells = [str(row[column]) for row in self.rows]
        return any(cells) and all(re.match(r"[<+\-−]?\d|[-–]?$", cell) for cell in cells)


def _in_table(cell: object) -> str:
    """A float with six digits; a spread is not parted from its sign."""
    text = f"{cell:g}" if isinstance(cell, float) else str(cell)
    return text.replace("± ", "±\N{NO-BREAK SPACE}")


def start(profile: str, seed: int) -> Lab:
    """Check what papermill injected, pick the device, and say so in one line; torch gets one
    thread.

    $CDMLLAB_THREADS raises the number of threads.

    Parameters
    ----------
    profile : ``"cpu"``, or ``"gpu"`` to use CUDA where there is a device
    seed : of everything random in the notebook

    Raises
    ------
    ValueError : a profile that does not exist, or a parameter the notebook does not have (papermill
        itself would only log it and run on with the default)
    """
    _refuse_unknown_parameters()
    if profile not in get_args(Profile):
        raise ValueError(f"profile must be 'cpu' or 'gpu', got {profile!r}")
    device: Literal["cpu", "cuda"] = "cpu"
    if profile == "cpu":
        print(f"Profile cpu, seed {seed}.")
    elif torch.cuda.is_available():
        device = "cuda"
        print(f"Profile gpu, seed {seed}, on {torch.cuda.get_device_name()}.")
    else:
        print(
            f"Profile gpu was asked for, seed {seed}, but there is no CUDA device: running on the "
            f"CPU."
        )
    # On a busy machine two threads wait for each other far longer than they compute.
    torch.set_num_threads(int(os.environ.get("CDMLLAB_THREADS", "1")))
    scratch = tempfile.TemporaryDirectory(prefix="cdmllab-runs-")
    _SCRATCH.append(scratch)
    return Lab("gpu" if profile == "gpu" else "cpu", seed, device, Path(scratch.name))


_SCRATCH: list[tempfile.TemporaryDirectory[str]] = []  # alive as long as the kernel


def tell(**values: object) -> None:
    """Keep values for a chapter's prose, which names them as ``{glue:text}`name:.2f```; numbers
    become plain ones.
    """
    with optional("book", "a value in a chapter's prose"):
        from myst_nb import glue  # there to write the book with, not to use the package

    for name, value in values.items():
        plain = value.item() if isinstance(value, np.generic | torch.Tensor) else value
        glue(name, plain, display=False)


def mean_sd(values: Sequence[float]) -> str:
    """Shares as per cent for a table: "97.3 ± 0.4", mean and sample standard deviation; one value
    alone.
    """
    percent = [100.0 * v for v in values]
    mean = statistics.fmean(percent)
    return f"{mean:.1f} ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else f"{mean:.1f}"


def p_value(p: float) -> str:
    """A p-value for a table, with three digits; what would be 0.000 is "<0.001"."""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def beside(a: float, b: float, more: str = "above", less: str = "below") -> str:
    """How `a` stands to `b`, for a sentence that is true whatever a run gives: "above", "below" or
    "level with" it.
    """
    return more if a > b else less if a < b else "level with"


def unknown_parameters(cells: Iterable[str]) -> dict[str, str]:
    """Names that papermill's injected cell sets and the cell before it does not, with a hint at a
    known one.

    Parameters
    ----------
    cells : the sources of the code cells run so far; the injected one starts with ``# Parameters``
    """
    known: set[str] = set()
    for source in cells:
        assigned = _assigned(source)
        if source.startswith("# Parameters"):
            return {name: did_you_mean(name, known) for name in assigned if name not in known}
        known.update(assigned)
    return {}


def _refuse_unknown_parameters() -> None:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    for name, hint in unknown_parameters(shell.user_ns.get("In", [])[1:]).items():
        raise ValueError(f"this notebook has no parameter {name!r}{hint}")


def _assigned(source: str) -> list[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with a %magic sets no parameter
        return []
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
