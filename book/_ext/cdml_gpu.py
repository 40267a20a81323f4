"""Chapters run on a GPU, from ``results/gpu``: their table, and single figures.

The directives are ``{cdml-gpu-chapters}`` and ``{cdml-gpu-figure} 09_training``.
"""

from pathlib import Path
from typing import Any

from cdml_svg import inline
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from cdmllab import results
from cdmllab._util.files import read_json

logger = logging.getLogger(__name__)


class ChaptersDirective(SphinxDirective):
    """A table of the notebooks, with the command, GPU, duration and file of each."""

    def run(self) -> list[nodes.Node]:
        lines = ["| chapter | command | on | seconds | notebook |", "|---|---|---|--:|---|"]
        for path in sorted((results.folder() / "gpu").glob("*.ipynb")):
            provenance = read(path, self)["metadata"]["cdmllab"]["provenance"]
            number, file = int(path.stem.split("_")[0]), f"../results/gpu/{path.name}"
            lines.append(
                f"| {{doc}}`{number} <executed/{path.stem}>` | `{provenance['command']}` "
                f"| {provenance['gpu']} | {provenance['wall_s']:.0f} "
                f"| {{download}}`{path.name} <{file}>` |"
            )
        return self.parse_text_to_nodes("\n".join(lines))


class FigureDirective(SphinxDirective):
    """The first drawing of a notebook; the directive's content is its caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        path = results.folder() / "gpu" / f"{name}.ipynb"
        if not path.is_file() or "alt" not in self.options:
            logger.warning(
                "cdml-gpu-figure: %s is missing, or the directive has no :alt:",
                path,
                location=self.get_location(),
            )
            return []
        outputs = [
            output for cell in read(path, self)["cells"] for output in cell.get("outputs", [])
        ]
        drawings = [
            output["data"]["image/svg+xml"]
            for output in outputs
            if "image/svg+xml" in output.get("data", {})
        ]
        drawing = nodes.raw(
            "", inline("".join(drawings[0]), f"gpu-{name}-", self.options["alt"]), format="html"
        )
        caption, messages = self.parse_inline(" ".join(self.content))
        return [nodes.figure("", drawing, nodes.caption("", "", *caption)), *messages]


def read(path: Path, directive: SphinxDirective) -> Any:
    """Read a notebook and make the page depend on it."""
    directive.env.note_dependency(str(path))
    return read_json(path)


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-gpu-chapters", ChaptersDirective)
    app.add_directive("cdml-gpu-figure", FigureDirective)
