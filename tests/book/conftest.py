"""A browser with the network closed, the built book, and a miniature book that builds in
seconds.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright
from tests.book.miniature import write_miniature

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's /dev/shm may be 64 MiB, which crashes a page
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OpenPage = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        reason = "no Chromium on the PATH"
        if os.environ.get("CDMLLAB_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(browser: Browser) -> OpenPage:
    """Return a function that opens a file and checks that nothing is fetched or reported."""

    @contextmanager
    def open_page(
        path: Path | str,
        width: int = 1400,
        height: int = 900,
        theme: str = "light",
        touch: bool = False,
        scripts: bool = True,
        motion: str = "no-preference",
    ) -> Iterator[Page]:
        outside, complaints = [], []

        def gate(route: Route) -> None:
            if re.match(r"(file|data|blob|about):", route.request.url):
                route.continue_()
            else:
                outside.append(route.request.url)
                route.abort()

        def listen(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complaints.append(message.text)

        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            has_touch=touch,
            java_script_enabled=scripts,
            reduced_motion=motion,
            offline=True,
        )
        context.route("**/*", gate)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri() if isinstance(path, Path) else path)
        yield page
        context.close()
        assert outside == []
        assert complaints == []

    return open_page


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real book, rebuilt if necessary."""
    command = [sys.executable, "-m", "cdmllab", "book", "build"]
    with FileLock(
        tmp_path_factory.getbasetemp().parent / "site.lock"
    ):  # tests on several cores ask for it at once
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return ROOT / "book/_build/html"


@pytest.fixture(scope="session")
def build_miniature(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, str]]:
    """Builds a small project with the book's extension; returns its folder and warnings."""

    def build(**pages: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("miniature")
        write_miniature(folder, ROOT / "book", pages)
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "source", "html"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder / "html", done.stderr

    return build


@pytest.fixture(scope="session")
def miniature(build_miniature: Callable[..., tuple[Path, str]]) -> Path:
    folder, warnings = build_miniature()
    assert warnings == ""
    return folder
