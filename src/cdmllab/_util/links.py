"""Refuse symbolic links in a folder that anybody may have made."""

import os
from contextlib import suppress
from pathlib import Path

from cdmllab.errors import DataError, plain, reading


def refuse(folder: Path | str, what: str) -> None:
    """Raise if an untrusted folder contains a symbolic link, at any depth.

    Writing and deleting below a link would change what lies outside the folder. The folder itself
    may be a link, which its owner has made.

    Parameters
    ----------
    folder : files may appear and vanish in it meanwhile
    what : the folder is, for errors: ``"a run's folder"``

    Raises
    ------
    DataError : names the link; or the folder cannot be read
    """
    waiting: list[str] = [os.fspath(folder)]
    with reading(folder, what):
        while waiting:
            with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        raise DataError(
                            f"{plain(entry.path, 200)} is a link, but {what} may only contain "
                            f"files and folders: put what it leads to in its place"
                        )
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
