"""The results of a benchmark, read from ``results/benchmarks``: ``{cdml-benchmark} heads``."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from cdmllab.book import benchmark_tables

logger = logging.getLogger(__name__)


class BenchmarkDirective(SphinxDirective):
    """Question, peer, limit and tables of a benchmark, or a note if it was not measured."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in benchmark_tables.BENCHMARKS:
            logger.warning(
                "cdml-benchmark: there is no benchmark named %s",
                name,
                location=self.get_location(),
            )
            return []
        return self.parse_text_to_nodes(benchmark_tables.page(name))


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-benchmark", BenchmarkDirective)
