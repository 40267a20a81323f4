"""The kernel of a chapter: the current interpreter, isolated from the user's own settings."""

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
    """The environment variables of a reproducible run that imports the package from `source`.

    Thread counts (``OMP_NUM_THREADS`` and the like) remain the user's choice.
    """
    with TemporaryDirectory(prefix="cdmllab-kernel-") as own:
        # Without a fixed salt the ids in SVG figures differ from run to run.
        write_text(Path(own) / "matplotlibrc", "svg.hashsalt: cdmllab\n")
        path = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
        yield {
            **_caches(Path(own)),
            "IPYTHONDIR": own,  # no startup files, no history
            "MATPLOTLIBRC": str(Path(own) / "matplotlibrc"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or the debugger warns about frozen modules
            "PYTHONHASHSEED": "0",
            "PYTHONIOENCODING": "utf-8",  # whatever the locale
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUTF8": "1",
            "SOURCE_DATE_EPOCH": "0",  # the date within SVG figures
        }


def _caches(own: Path) -> dict[str, str]:
    """Writable cache folders: the user's own if possible, otherwise temporary ones.

    Libraries print messages about a read-only cache, or about fonts that they list for the first
    time, on stderr, which would fail a chapter.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in some containers
        home = own
    variables = {}
    folder = Path(os.environ.get("MPLCONFIGDIR") or home / "matplotlib")
    if not _can_write(folder):
        folder = own / "matplotlib"
        folder.mkdir()
        if not _can_write(Path(sysconfig.get_path("purelib"))):  # numba's first choice
            variables["NUMBA_CACHE_DIR"] = os.environ.get("NUMBA_CACHE_DIR") or str(own / "numba")
    variables["MPLCONFIGDIR"] = str(folder)
    # Create matplotlib's list of fonts here, so that its message does not appear in a chapter.
    if not any(folder.glob("fontlist-*.json")):
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"],
            env={**os.environ, **variables},
            capture_output=True,
            check=False,
        )
    return variables


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def manager_class(variables: Mapping[str, str]) -> type[AsyncKernelManager]:
    """A kernel manager that starts this interpreter, whatever kernels are installed."""
    spec = KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]), env=dict(variables))

    class ThisInterpreter(AsyncKernelManager):
        @default("transport_encryption")
        def _encrypt_where_possible(self) -> str:
            return "auto"

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return ThisInterpreter
