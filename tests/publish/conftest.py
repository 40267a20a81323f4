"""A book of two tiny chapters, in a folder of its own."""

import io
import shutil
from pathlib import Path

import pytest

from cdmllab.publish.build import build
from cdmllab.publish.layout import Layout
from cdmllab.publish.progress import Progress

REPOSITORY = Path(__file__).parents[2]

FIRST = """\
# ---
# jupyter:
#   cdmllab:
#     data: ["results/*.json"]
# ---

# %% [markdown]
# # First
# A formula, $x^2$.

# %% tags=["parameters"]
profile = "cpu"  # where to compute
seed = 0  # where every random number starts
rate = 1.0  # how fast

# %%
from pathlib import Path

from cdmllab.alpha import VALUE

# %%
with Path("executions.log").open("a") as log:
    _ = log.write(f"01_first {seed} {rate}\\n")
VALUE + seed
"""

SECOND = """\
# %% [markdown]
# # Second

# %% tags=["parameters"]
profile = "cpu"  # where to compute
seed = 0  # where every random number starts

# %%
from pathlib import Path

from cdmllab.beta import double

with Path("executions.log").open("a") as log:
    _ = log.write(f"02_second {seed}\\n")
print(double(seed + 1))
"""

TOC = """\
format: jb-book
root: index
chapters:
  - file: executed/01_first
  - file: executed/02_second
"""

FILES = {
    "book/index.md": "# Start\n\nSee [](executed/01_first.ipynb).\n",
    "book/references.bib": "",
    "book/_toc.yml": TOC,
    "book/_ext/cdml_book.py": "def setup(app):\n    return {'parallel_read_safe': True}\n",
    "book/_static/logo.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    "book/chapters/01_first.py": FIRST,
    "book/chapters/02_second.py": SECOND,
    "results/numbers.json": "[1]",
    "src/cdmllab/__init__.py": "from cdmllab import apart\n",
    "src/cdmllab/alpha.py": "VALUE = 3\n",
    "src/cdmllab/apart.py": "",
    "src/cdmllab/beta/__init__.py": "from .inner import double\n",
    "src/cdmllab/beta/inner.py": "def double(x):\n    return 2 * x\n",
    "src/cdmllab/beta/table.json": "{}",
}


class Book(Layout):
    """The miniature, with ways to edit it and to see what was run."""

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def peek(self) -> list[str]:
        """The chapters that were run, in order, as they say themselves."""
        log = self.root / "executions.log"
        return log.read_text(encoding="utf-8").splitlines() if log.is_file() else []

    def executions(self) -> list[str]:
        """The chapters that were run since the last call."""
        lines = self.peek()
        (self.root / "executions.log").unlink(missing_ok=True)
        return lines


def write_book(root: Path) -> Book:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("_config.yml", "jupytext.toml"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "book/_vendor", root / "book/_vendor")
    return Book(root)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A book of which nothing has been built."""
    return write_book(tmp_path / "tree")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book with its site, to copy and to look at."""
    book = write_book(tmp_path_factory.mktemp("built") / "tree")
    build(book, progress=Progress(io.StringIO()))
    assert book.executions() == ["01_first 0 1.0", "02_second 0"]
    return book


@pytest.fixture
def built(built_once: Book, tmp_path: Path) -> Book:
    """A book with its site, to change."""
    return Book(shutil.copytree(built_once.root, tmp_path / "tree"))


@pytest.fixture
def said() -> io.StringIO:
    """What the progress says."""
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    return Progress(said)
