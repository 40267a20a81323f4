"""Widgets in the built site: the directive, and the scripts on the pages that need them.

Browsers do not allow module imports on file://, so each widget's module is wrapped in a classic
script that passes its `render` to the host. The host creates the model from the element's
data-state.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from traitlets import TraitError

from cdmllab.book import widgets

HOST = Path(__file__).with_name("widget_host.js")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
logger = logging.getLogger(__name__)


class WidgetDirective(SphinxDirective):
    """``{cdml-widget} name`` with the initial state as options."""

    required_arguments = 1
    option_spec = {  # noqa: RUF012  (docutils needs a plain class attribute)
        option: directives.unchanged_required
        for widget in widgets.WIDGETS.values()
        for option in widget.state_traits()
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        try:
            text = static_html(name, self.options)
        except ValueError as error:
            logger.warning("cdml-widget: %s", error, location=self.get_location(), type="cdml")
            return []
        return [nodes.raw("", text, format="html")]


def static_html(name: str, options: dict[str, str]) -> str:
    """The HTML of a widget; raises ValueError for an unknown name, option or value."""
    if name not in widgets.WIDGETS:
        raise ValueError(f"unknown widget {name!r}; there are {', '.join(widgets.names())}")
    widget = widgets.WIDGETS[name]
    traits = widget.state_traits()
    if unknown := options.keys() - traits:
        raise ValueError(
            f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(traits)}"
        )
    try:
        return widget(
            **{key: traits[key].from_string(text) for key, text in options.items()}
        ).static_html()
    except (TraitError, TypeError) as error:
        raise ValueError(str(error)) from error


def classic_script(name: str) -> str:
    """The widget's module as a classic script that returns its default export to the host."""
    body, exports = re.subn(
        r"^export default ", "return ", widgets.source(name), flags=re.MULTILINE
    )
    if exports != 1:
        raise ValueError(f"{name}.js has {exports} default exports instead of one")
    return f'cdmlWidgets.define("{name}", () => {{\n"use strict";\n{body}}});\n'


def no_kernel_output(app: Sphinx, config: Any) -> None:
    """Keep myst-nb from using a widget's live view and loading Jupyter's widget manager."""
    config.nb_ipywidgets_js = {}
    config.nb_mime_priority_overrides = [
        *config.nb_mime_priority_overrides,
        ("*", WIDGET_VIEW, None),
    ]


def write_scripts(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static/widgets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "host.js").write_text(HOST.read_text(encoding="utf-8"), encoding="utf-8")
    for name in widgets.names():
        (folder / f"{name}.js").write_text(classic_script(name), encoding="utf-8")


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    used = set(re.findall(r'class="cdml-widget" data-widget="([^"]*)"', context.get("body", "")))
    for unknown in sorted(used - set(widgets.names())):
        logger.warning("unknown widget %r", unknown, location=page, type="cdml")
    known = sorted(used & set(widgets.names()))
    for script in ["host", *known] if known else []:
        app.add_js_file(f"widgets/{script}.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    app.add_directive("cdml-widget", WidgetDirective)
    app.connect("config-inited", no_kernel_output)
    app.connect("builder-inited", write_scripts)
    app.connect("html-page-context", add_scripts)
