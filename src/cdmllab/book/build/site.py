"""The site, built by jupyter-book from pages and executed notebooks and replaced in one step."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cdmllab._util.files import read_json, read_yaml, write_text
from cdmllab.book.build.fingerprint import hash_file
from cdmllab.book.build.import_graph import reach
from cdmllab.book.build.layout import Layout
from cdmllab.book.build.offline import external_loads
from cdmllab.book.build.sphinx_log import complaints, plain
from cdmllab.errors import CdmlLabError

RECORD = ".inputs.json"  # in the site: the inputs that it was built from
STAGING = ".staging-"
PREVIOUS = "html.previous"
TOOLS = (
    "jupyter-book",
    "myst-nb",
    "pydata-sphinx-theme",
    "sphinx",
    "sphinx-book-theme",
    "sphinx-design",
)
# Generated, or an input only through the executed notebooks.
_NOT_INPUTS = {"_build", "chapters", "executed", "__pycache__"}


class SiteError(CdmlLabError):
    """The site was not built; the previous one is unchanged."""


def reasons(layout: Layout) -> list[str]:
    """The reasons to build the site again, a phrase for each changed input."""
    try:
        old = read_json(layout.html / RECORD)
    except (OSError, ValueError):
        return ["never built"]
    if not (layout.html / "index.html").is_file():
        return ["its first page is missing"]
    new = _inputs(layout)
    words = {
        key: "is new" if key not in old else "was removed" if key not in new else "changed"
        for key in {*old, *new}
    }
    return [f"{key} {words[key]}" for key in sorted(words) if old.get(key) != new.get(key)]


def check_listed(layout: Layout, chapters: Sequence[str]) -> None:
    """Check that the table of contents lists every chapter.

    Raises
    ------
    SiteError : one is missing
    """
    listed = set(_pages(read_yaml(layout.toc)))
    for chapter in chapters:
        if f"executed/{chapter}" not in listed:  # as _toc.yml lists chapters
            raise SiteError(f"{layout.show(layout.toc)} does not list executed/{chapter}")


def check_pages(layout: Layout, chapters: Sequence[str]) -> None:
    """Check that every chapter is listed and has an output.

    Raises
    ------
    SiteError : one is missing
    """
    check_listed(layout, chapters)
    for chapter in chapters:
        if not layout.output(chapter).is_file():
            raise SiteError(
                f"the site needs chapter {chapter}, which has not been run: `cdmllab book build` "
                f"runs it"
            )


def build(layout: Layout) -> int:
    """Build the site from scratch, replace the previous one, and return the number of pages.

    Raises
    ------
    SiteError : jupyter-book failed or warned, or a page would load something over the network
    """
    _tidy(layout)
    inputs = _inputs(layout)
    # Next to the site, on the same disk, so that it can be renamed into place.
    with TemporaryDirectory(dir=layout.build, prefix=STAGING) as folder:
        _run_jupyter_book(layout, Path(folder))
        html = Path(folder) / "_build/html"
        loads = external_loads(html)
        if loads:
            raise SiteError(
                "the site must work offline, but would load "
                f"{len(loads)} files over the network, the first in {loads[0]}"
            )
        write_text(html / RECORD, json.dumps(inputs, indent=1, sort_keys=True) + "\n")
        _swap(html, layout)
    return sum(1 for _ in layout.html.rglob("*.html"))


def _run_jupyter_book(layout: Layout, output: Path) -> None:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(layout.book)]
    command += [
        "--path-output",
        str(output),
        "--config",
        str(layout.config),
        "-W",  # warnings are errors
        "-n",  # broken references are warnings
        "--keep-going",  # report all of them
    ]
    path = [str(layout.package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        **os.environ,
        "NO_COLOR": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUTF8": "1",
    }
    # A log of its own for each build: the jupyter-book of a killed build may still be writing.
    log_path = output / layout.log.name
    with log_path.open("w", encoding="utf-8") as log:
        done = subprocess.run(
            command,
            cwd=layout.root,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = plain(log_path.read_text(encoding="utf-8", errors="replace"))
    write_text(layout.log, text)
    messages = complaints(text, layout.root)
    if not done.returncode and not messages:
        return
    first = "; ".join(messages[:3]) or f"jupyter-book ended with exit status {done.returncode}"
    more = f" and {len(messages) - 3} more" if len(messages) > 3 else ""
    raise SiteError(f"the site was not built: {first}{more} (full log: {layout.show(layout.log)})")


def _inputs(layout: Layout) -> dict[str, str]:
    """The digest or version of every input of the site."""
    # Everything that pages show or that the extensions of Sphinx import.
    files = [layout.config, *_files_below(layout.book), *map(layout.output, layout.chapters())]
    files += _files_below(layout.root / "results")  # for the tables on pages
    files += [
        path
        for path in (layout.package / "book/widgets").glob("*")
        if path.suffix in (".css", ".js")
    ]
    extensions = [path.read_text(encoding="utf-8") for path in (layout.book / "_ext").glob("*.py")]
    code = reach(extensions, layout.package)
    files += [*code.modules.values(), *code.data.values()]
    return {
        **{layout.show(path): hash_file(path) for path in files if path.is_file()},
        **{tool: version(tool) for tool in TOOLS},
    }


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name in _NOT_INPUTS:
            continue
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _pages(toc: Any) -> Iterator[str]:
    """The pages named anywhere in a table of contents, which is nested."""
    if isinstance(toc, dict):
        yield from (str(toc[key]).removesuffix(".ipynb") for key in ("file", "root") if key in toc)
        toc = list(toc.values())
    if isinstance(toc, list):
        for part in toc:
            yield from _pages(part)


def _swap(html: Path, layout: Layout) -> None:
    # For a moment there is no site; `_tidy` restores the old one after a kill in between.
    previous = layout.build / PREVIOUS
    if layout.html.exists():
        layout.html.rename(previous)
    html.rename(layout.html)
    shutil.rmtree(previous, ignore_errors=True)


def _tidy(layout: Layout) -> None:
    """Clean up after a killed build."""
    previous = layout.build / PREVIOUS
    if previous.exists() and not layout.html.exists():
        previous.rename(layout.html)
    shutil.rmtree(previous, ignore_errors=True)
    for folder in layout.build.glob(f"{STAGING}*"):
        # The jupyter-book of a killed build may still be writing for a moment.
        shutil.rmtree(folder, ignore_errors=True)
