"""All solutions on one page, read from the executed chapters: ``{cdml-solutions}``."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from cdml_chapters import number
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_EXERCISE = re.compile(
    r"^\*\*(?P<name>\d+\.\d+)\*\* (?P<question>(?:(?!\n\*\*\d+\.\d+\*\*|\n## ).)*?)\n+"
    r"<details><summary>Solution (?P=name)</summary>\n+(?P<solution>.*?)\n+</details>$",
    re.DOTALL | re.MULTILINE,
)
logger = logging.getLogger(__name__)


class Solved(NamedTuple):
    """An exercise of a chapter, in the chapter's Markdown."""

    name: str  # chapter.number
    question: str
    solution: str


class SolutionsDirective(SphinxDirective):
    """Every exercise that has a solution, chapter by chapter."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir, "executed")
        chapters = sorted(page for page in self.env.found_docs if page.startswith("executed/"))
        text = ""
        for page in chapters:
            path = folder / f"{page.removeprefix('executed/')}.ipynb"
            self.env.note_dependency(str(path))
            notebook = json.loads(path.read_text(encoding="utf-8"))
            title, exercises = solved(notebook)
            if not exercises:
                logger.warning(
                    "%s has no exercise with a solution",
                    page,
                    location=self.get_location(),
                    type="cdml",
                )
            text += f"## {number(page)}. {title}\n\n" + "".join(
                _as_markdown(exercise) for exercise in exercises
            )
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def solved(notebook: dict) -> tuple[str, list[Solved]]:
    """The title of a chapter's notebook and its exercises with solutions, in order."""
    cells = (
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    )
    prose = "\n\n".join(cells)
    title = re.search(r"^# (.+)$", prose, re.MULTILINE)
    exercises = [
        Solved(m["name"], m["question"].strip(), m["solution"].strip())
        for m in _EXERCISE.finditer(prose)
    ]
    return title[1] if title else "", exercises


def _as_markdown(exercise: Solved) -> str:
    name, question, solution = exercise
    return (
        f"**{name}** {question}\n\n::::{{admonition}} Solution {name}\n:class: "
        f"tip\n\n{solution}\n::::\n\n"
    )


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-solutions", SolutionsDirective)
