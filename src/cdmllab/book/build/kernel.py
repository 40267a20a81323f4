"""The kernel a chapter runs in: this very interpreter, and nothing of the user's own settings."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from cdmllab._util.files import write_text


@contextmanager
def environment(source: Path) -> Iterator[dict[str, str]]:
    """The variables of a reproducible run, which import the package from the folder `source`.

    Thread counts (``OMP_NUM_THREADS`` and the like) are left to the user.
    """
    with TemporaryDirectory(prefix="cdmllab-kernel-") as own:
        write_text(Path(own) / "matplotlibrc", "svg.hashsalt: cdmllab\n")
        path = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
        yield {
            **_caches(Path(own)),
            "IPYTHONDIR": own,  # no start-up files, no history
            "MATPLOTLIBRC": str(Path(own) / "matplotlibrc"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning about frozen modules
            "PYTHONHASHSEED": "0",
            "PYTHONIOENCODING": "utf-8",  # whatever the locale
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUTF8": "1",
            "SOURCE_DATE_EPOCH": "0",  # the date within SVG figures
        }


def _caches(own: Path) -> dict[str, str]:
    """Cache folders that can be written: the user's own, or ours where those cannot.

    What a library says about its cache, a home that is read-only or fonts that it lists for the
    first time, it says on stderr, which fails a chapter.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in some containers
        home = own
    found = {}
    folder = Path(os.environ.get("MPLCONFIGDIR") or home / "matplotlib")
    if not _can_write(folder):
        folder = own / "matplotlib"
        folder.mkdir()
        if not _can_write(Path(sysconfig.get_path("purelib"))):  # numba's first choice
            found["NUMBA_CACHE_DIR"] = os.environ.get("NUMBA_CACHE_DIR") or str(own / "numba")
    found["MPLCONFIGDIR"] = str(folder)
    if not any(folder.glob("fontlist-*.json")):
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"],
            env={**os.environ, **found},
            capture_output=True,
            check=False,
        )
    return found


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def manager_class(variables: Mapping[str, str]) -> type[AsyncKernelManager]:
    """A kernel manager that starts this interpreter, whatever kernel is installed as
    ``python3``.
    """
    spec = KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]), env=dict(variables))

    class ThisInterpreter(AsyncKernelManager):
        @default("transport_encryption")
        def _encrypt_where_possible(self) -> str:
            return "auto"

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return ThisInterpreter
