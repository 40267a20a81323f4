"""A small book: pages with widgets and a figure, and notebooks with both as outputs."""

import io
from pathlib import Path

import matplotlib as mpl
import nbformat
from matplotlib.figure import Figure
from tests.book.examples import example

from cdmllab.book import widgets
from cdmllab.book.widgets import TargetLogit
from cdmllab.plots import style

CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_nb", "cdml_book"]
html_theme = "sphinx_book_theme"
html_static_path = [{static!r}]
html_css_files = ["cdml.css"]
html_js_files = ["cdml.js"]
html_context = {{"default_mode": "auto"}}
nb_execution_mode = "off"
numfig = True
project = "Miniature"
"""
PAGES = {
    "index": """# Miniature

```{toctree}
page
two
notebook
widgets
glued
"""
    + "".join(f"widget_{name}\n" for name in widgets.names())
    + "```\n",
    "glued": """# A widget of another page

```{glue} the-threshold
:doc: widgets.ipynb
```
""",
    "two": """# Two widgets

```{cdml-widget} target_logit
```

```{cdml-widget} target_logit
:m2: 0.3
```
""",
    "page": """# A page

{numref}`drawing` has a caption. Text with `code`, $x^2$ and [a link](notebook).

```{glue} fig-glued
---
doc: notebook.ipynb
alt: A line that goes up,
  of another page.
---
```

```{figure} drawing.svg
:name: drawing

A drawing with *ink*.
```

```{admonition} What you need
:class: needs

Nothing.
```

| a | b |
|---|---|
| 1 | 2 |

```{cdml-widget} target_logit
:m2: 0.3
:beyond_pi: clip
```
""",
}


def drawing() -> str:
    """A figure in the book's style, with a clip path and text, as matplotlib writes it."""
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(6, 3))
        axes = figure.subplots()
        axes.plot(
            [0, 1, 2],
            [0, 2, 1],
            color=style.COLOURS["cdml"],
            marker="o",
            markeredgecolor=style.PAPER,
        )
        axes.set_xlabel("$\\theta$")
        stream = io.StringIO()
        figure.savefig(stream, format="svg")
    return stream.getvalue()


def notebook() -> nbformat.NotebookNode:
    """Cells with a figure, with a glued figure, and with a widget including its live view."""
    v4 = nbformat.v4
    figure = {"image/svg+xml": drawing(), "text/plain": "<Figure>"}
    record = "application/papermill.record/"
    glued = {"scrapbook": {"name": "fig-glued", "mime_prefix": record}}
    widget, _ = TargetLogit(m3=0.35, m2=0.0)._repr_mimebundle_()
    outputs = [
        v4.new_output("display_data", figure),
        v4.new_output("display_data", figure),
        v4.new_output(
            "display_data", {record + mime: data for mime, data in figure.items()}, metadata=glued
        ),
        v4.new_output("display_data", widget),
    ]
    return executed("# A notebook", outputs)


def page_of(*names: str) -> nbformat.NotebookNode:
    """Some widgets as outputs; each is glued too, for other pages."""
    outputs = []
    for name in names:
        data, _ = example(name)._repr_mimebundle_()
        glued = {"scrapbook": {"name": f"the-{name}", "mime_prefix": ""}}
        outputs.append(nbformat.v4.new_output("display_data", data, metadata=glued))
    return executed("# Widgets", outputs)


def executed(title: str, outputs: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    """A notebook with one cell for each output, as saved by Jupyter."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell(title)]
    alt = {"mystnb": {"image": {"alt": "A line that goes up"}}}
    cells += [v4.new_code_cell("show()", outputs=[output], metadata=alt) for output in outputs]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    state = {"state": {"x": {"model_name": "AnyModel"}}, "version_major": 2, "version_minor": 0}
    live = {"application/vnd.jupyter.widget-state+json": state}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": spec, "widgets": live})


def write_miniature(folder: Path, book: Path, pages: dict[str, str]) -> None:
    """Write the project's source; `pages` replace those of the small book."""
    source = folder / "source"
    source.mkdir()
    conf = CONF.format(ext=str(book / "_ext"), static=str(book / "_static"))
    (source / "conf.py").write_text(conf, encoding="utf-8")
    for name, text in {**PAGES, **pages}.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    (source / "drawing.svg").write_text(drawing(), encoding="utf-8")
    nbformat.write(notebook(), source / "notebook.ipynb")
    nbformat.write(page_of(*widgets.names()), source / "widgets.ipynb")
    for name in widgets.names():
        nbformat.write(page_of(name), source / f"widget_{name}.ipynb")
