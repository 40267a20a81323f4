"""A book of two tiny chapters in a temporary folder."""

import shutil
from pathlib import Path

from cdmllab.book.build.layout import Layout

REPOSITORY = Path(__file__).parents[3]

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
    "book/_static/favicon.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
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
    """The miniature, with methods to edit it and to list the chapters that were run."""

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def peek(self) -> list[str]:
        """The chapters that were run, in order, as recorded by themselves."""
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
