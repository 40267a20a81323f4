"""Mirrors by kind: plain addresses, the Hugging Face hub and Google Drive.

The clients of the hub and of Drive are optional, in the extra ``fetch``. Each is imported when a
mirror needs it; if it is not installed, the mirror is skipped with a message that names it.
"""

import os
import sys
from pathlib import Path
from typing import Any

from cdmllab.data.fetching.http import PATIENT, MirrorError, Patience, Progress, download
from cdmllab.data.registry import Mirror
from cdmllab.errors import cause

EXTRA = "pip install 'cdmllab[fetch]' brings it"
DRIVE = "CDMLLAB_GOOGLE_DRIVE"  # names another address of Google Drive, such as a proxy


def get(
    mirror: Mirror,
    part: Path,
    *,
    expected: int | None,
    any_origin: bool,
    patience: Patience = PATIENT,
    progress: Progress | None = None,
) -> None:
    """Complete `part` from a mirror; see `cdmllab.data.fetching.http.download`.

    Raises
    ------
    MirrorError : the mirror does not have the file, or its client is not installed
    OSError : the disk is full or cannot be written
    """
    if mirror.url is not None:
        options: dict[str, Any] = {"expected": expected, "any_origin": any_origin}
        return download(mirror.url, part, **options, patience=patience, progress=progress)
    if mirror.huggingface is not None:
        return _hub(mirror, part)
    return _drive(mirror, part, patience, progress)


def _hub(mirror: Mirror, part: Path) -> None:
    """Download with the hub's client, which resumes its own unfinished files next to `part`."""
    try:
        import huggingface_hub
    except ImportError:
        raise MirrorError(f"it needs the package huggingface_hub, and {EXTRA}") from None
    assert mirror.huggingface is not None and mirror.path is not None  # noqa: PT018
    folder = part.with_name(f"{part.name}.hub")
    try:
        path = huggingface_hub.hf_hub_download(
            mirror.huggingface,
            mirror.path,
            repo_type="dataset",
            local_dir=folder,
            endpoint=os.environ.get("HF_ENDPOINT"),  # a mirror of the hub, if one is set
            library_name="cdmllab",
        )
        Path(path).replace(part)
    except OSError as error:
        # Errors of the disk have a number, those of the client do not.
        if error.errno is not None:
            raise
        raise MirrorError(cause(error, 200)) from error
    except Exception as error:
        raise MirrorError(cause(error, 200)) from error


def _drive(mirror: Mirror, part: Path, patience: Patience, progress: Progress | None) -> None:
    """Download with gdown, which passes Drive's confirmation page and resumes unfinished files."""
    try:
        import gdown
    except ImportError:
        raise MirrorError(f"it needs the package gdown, and {EXTRA}") from None
    base = os.environ.get(DRIVE, "https://drive.google.com")
    try:
        gdown.download(
            url=f"{base}/uc?id={mirror.google_drive}",
            output=str(part),
            quiet=True,
            resume=True,
            timeout=patience.stall_s,
            retries=patience.attempts - 1,
            use_cookies=False,
            progress=progress,
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not _is_network_error(error):
            raise
        raise MirrorError(cause(error, 200)) from error


def _is_network_error(error: OSError) -> bool:
    """Whether an error is one of the network; those of the package requests are OSErrors too."""
    requests = sys.modules.get("requests")
    return isinstance(error, ConnectionError) or (
        requests is not None and isinstance(error, requests.RequestException)
    )
