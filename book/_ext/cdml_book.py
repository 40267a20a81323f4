"""The book's Sphinx extension, which loads all the others.

They provide widgets that work without a kernel, figures in the colours of the theme, good line
breaks, accessibility, numbered and linked chapters, tables of benchmarks and presets, chapters run
on a GPU, a page of all solutions, and the package's reference.

A widget in a page is ``{cdml-widget} target_logit`` with its state as options (``:m2: 0.5``), or
the output of a notebook cell. A figure is any SVG image of a page. Both work offline, from a file.
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
