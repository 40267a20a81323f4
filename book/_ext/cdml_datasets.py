"""Tables of the registry of data sets: ``{cdml-datasets} files`` and ``{cdml-datasets} terms``."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from cdmllab.book import data_page

TABLES = {"files": data_page.files_table, "terms": data_page.terms_table}
logger = logging.getLogger(__name__)


class DataSetsDirective(SphinxDirective):
    """A table of all data sets: their files, or their terms."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in TABLES:
            logger.warning(
                "cdml-datasets: there is no table called %s", name, location=self.get_location()
            )
            return []
        return self.parse_text_to_nodes(TABLES[name]())


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-datasets", DataSetsDirective)
