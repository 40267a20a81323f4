"""Cost and expectation of presets, from their headers: ``{cdml-presets} lab/gpu/* casia/*``."""

import re
from fnmatch import fnmatch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from cdmllab.training import presets

logger = logging.getLogger(__name__)


class PresetsDirective(SphinxDirective):
    """A table of the presets that match some patterns, with their cost and expected result."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        lines = ["| preset | cost | expected result |", "|---|---|---|"]
        for pattern in self.arguments[0].split():
            matching = [name for name in presets.names() if fnmatch(name, pattern)]
            if not matching:
                logger.warning(
                    "cdml-presets: no preset matches %s", pattern, location=self.get_location()
                )
            for name in matching:
                header = presets.header(name)
                cost, expect = (
                    re.sub(r"(--[\w-]+)", r"`\1`", header[key]) for key in ("cost", "expect")
                )
                lines.append(f"| `{name}` | {cost} | {expect} |")
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-presets", PresetsDirective)
