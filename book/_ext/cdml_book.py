"""The book's own Sphinx extension: widgets that move without a kernel, figures that follow the
theme, lines that end well, access for all, chapters that know their numbers, tables of what was
measured, chapters run on a GPU, all solutions on one page, and the package's reference.

A widget in a page is ``{cdml-widget} target_logit`` with its state as options (``:m2: 0.5``), or
the output of a notebook cell. A figure is any SVG image of a page. Both work from a file, without a
network.
"""

import cdml_access
import cdml_api
import cdml_benchmarks
import cdml_breaks
import cdml_chapters
import cdml_datasets
import cdml_figures
import cdml_gpu
import cdml_presets
import cdml_solutions
import cdml_widgets
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, object]:
    cdml_api.setup(app)
    cdml_benchmarks.setup(app)
    cdml_breaks.setup(app)
    cdml_chapters.setup(app)
    cdml_datasets.setup(app)
    cdml_gpu.setup(app)
    cdml_presets.setup(app)
    cdml_solutions.setup(app)
    cdml_widgets.setup(app)
    cdml_figures.setup(app)
    cdml_access.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
