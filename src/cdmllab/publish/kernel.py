"""The kernel a chapter runs in: this very interpreter, and nothing of the user's own settings."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from cdmllab.files import write_text


@contextmanager
def environment(source: Path) -> Iterator[dict[str, str]]:
    """The variables of a reproducible run, which import the package from the folder `source`.

    Thread counts (``OMP_NUM_THREADS`` and the like) are left to the user.
    """
    with TemporaryDirectory(prefix="cdmllab-kernel-") as own:
        write_text(Path(own) / "matplotlibrc", "svg.hashsalt: cdmllab\n")
        path = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
        yield {
            "IPYTHONDIR": own,  # no start-up files, no history
            "MATPLOTLIBRC": str(Path(own) / "matplotlibrc"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning about frozen modules
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join(path),
            "SOURCE_DATE_EPOCH": "0",  # the date within SVG figures
        }


def manager_class(variables: Mapping[str, str]) -> type[AsyncKernelManager]:
    """A kernel manager that starts this interpreter, whatever kernel is installed as ``python3``."""
    spec = KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]), env=dict(variables))

    class ThisInterpreter(AsyncKernelManager):
        @default("transport_encryption")
        def _encrypt_where_possible(self) -> str:
            return "auto"

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return ThisInterpreter
