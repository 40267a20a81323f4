"""The package's reference: ``{cdml-api} cdmllab.heads`` documents a module's public names.

The docstrings have NumPy's sections, but a parameter's colon is followed by a description and not
by a type, so they are converted to Sphinx's fields here. The fields of named tuples and dataclasses
are documented by their trailing comments. Names in backticks become links if the reference has
them, and code otherwise.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from types import ModuleType

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

PAGES = "api/"
OTHER = "libraries"  # a page that has part of the reference
_ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
_ARRAY = re.compile(
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[~?numpy\.(\w+)\]\]"
)
_SECTIONS = {"Parameters": "param", "Raises": "raises", "Attributes": "ivar"}
_TICKED = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_\w])")
_FUNCTION = re.compile(r"<function (\w+)>")
_SPACE = "\u2060"
_TARGET = re.compile(r"\.\. _([^:]+): (\S+)$")
_FIELD = re.compile(r"^    (\w+): [^#\n]*?  # (.+(?:\n    # .+)*)$", re.MULTILINE)


class ApiDirective(SphinxDirective):
    """The public names of modules; several modules get a heading each."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        modules = [import_module(name) for name in self.arguments[0].split()]
        text = ""
        for module in modules:
            self.env.note_dependency(module.__file__)
            if len(modules) > 1:
                text += f"## {module.__name__.removeprefix('cdmllab.')}\n\n"
            lines = [f".. automodule:: {module.__name__}", "   :no-members:", ""]
            if len(modules) == 1:  # the page itself introduces the module
                lines = [f".. py:module:: {module.__name__}", ""]
            text += "\n".join(["```{eval-rst}", *lines, *described(module), "```\n\n"])
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def public(module: ModuleType) -> list[str]:
    """The names in a module's `__all__`, or without one, its public functions and classes."""
    defined = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        and (inspect.isfunction(value) or inspect.isclass(value))
    ]  # fmt: skip
    return list(getattr(module, "__all__", defined))


def described(module: ModuleType) -> Iterator[str]:
    """The reStructuredText of a module: a table of its names, then each name."""
    path = module.__name__
    functions, classes, rest = [], [], []
    for name in public(module):
        value = getattr(module, name)
        kinds = (
            classes if inspect.isclass(value) else functions if inspect.isroutine(value) else rest
        )
        kinds.append(name)
    yield from (f".. currentmodule:: {path}", "")
    if functions or classes:
        yield from (".. autosummary::", "   :nosignatures:", "")
        yield from (f"   {name}" for name in functions + classes)
        yield ""
    yield from (f".. autofunction:: {path}.{name}\n" for name in functions)
    yield from (f".. autoclass:: {path}.{name}\n   :members:\n" for name in classes)
    for name in rest:
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield f".. py:module:: {path}.{name}\n"
            yield from (f".. autofunction:: {path}.{name}.{inner}\n" for inner in public(value)
                        if inspect.isfunction(getattr(value, inner)))  # fmt: skip
        else:
            yield f".. py:data:: {name}\n\n   {_constant(module, name)}\n"


def _constant(module: ModuleType, name: str) -> str:
    """A constant's comment or docstring, and its value if that is short."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _constant(import_module(node.module), name)
    source = inspect.getsource(module)
    comment = re.search(rf"^{name}\b.*?(?:  # (.+)|\n\"\"\"(.+?)\"\"\")$", source, re.MULTILINE)
    value = repr(getattr(module, name))
    code = f"``{value}``" if len(value) < 100 else ""
    text = (comment[1] or comment[2]).strip() if comment else ""
    return " ".join(_linked(part) for part in (f"{text}." if text else "", code) if part)


def fields(lines: list[str]) -> list[str]:
    """Convert a docstring of the project's form to reStructuredText with fields."""
    lines = _with_links(lines)
    out: list[str] = []
    kind, entry = None, ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"} and line and not line.startswith(" "):
            kind, entry = line.strip(), ""
            out += ["", f".. rubric:: {kind}", ""] if kind not in (*_SECTIONS, "Returns") else [""]
        elif kind and line and set(line) == {"-"}:
            continue
        elif kind in _SECTIONS and line and not line.startswith(" "):
            entry = f"{entry} {line}".strip()
            names, colon, text = entry.partition(" : ")
            if colon:
                # Sphinx would take what precedes a space for a type.
                joined = re.sub(r",\s*", f",{_SPACE}", names)
                out.append(f":{_SECTIONS[kind]} {joined}: {_linked(text)}")
                entry = ""
        elif kind == "Returns" and line and not line.startswith(" "):
            out.append(f":returns: {_linked(line)}")
        else:
            out.append(line if line.lstrip().startswith(">>>") else _linked(line))
    return out


def _with_links(lines: list[str]) -> list[str]:
    """Replace references to link targets by inline links.

    Within a page of Markdown, Sphinx does not find the targets at the end of a docstring.
    """
    urls = dict(target.groups() for line in lines if (target := _TARGET.match(line)))
    names = "|".join(map(re.escape, urls))
    used = re.compile(rf"`({names})`_(?!_)|\b({names})_\b")
    kept = [line for line in lines if not _TARGET.match(line)]
    if not urls:
        return kept
    return [used.sub(lambda m: f"`{m[1] or m[2]} <{urls[m[1] or m[2]]}>`__", line) for line in kept]


def _linked(line: str) -> str:
    """Turn names in single backticks into references, and anything else in them into code."""
    return _TICKED.sub(
        lambda m: f":py:obj:`{m[1]}`" if re.fullmatch(r"[\w.]+", m[1]) else f"``{m[1]}``", line
    )


def _comment(text: str) -> str:
    return _linked(re.sub(r"\s+(?:# )?", " ", text)).replace("|", "\\|").replace("*", "\\*")


def _process(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    new = fields(lines)
    if what == "class" and (is_dataclass(value) or hasattr(value, "_fields")):
        comments = _FIELD.findall(inspect.getsource(value))
        new += ["", *(f":ivar {key}: {_comment(text)}" for key, text in comments), ""]
    lines[:] = new


def _skip(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Skip the fields of named tuples, whose automatic docstrings are not informative."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _short(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    given: str | None,
    gives: str | None,
) -> tuple[str | None, str | None]:
    """Shorten NumPy's array types, and functions as defaults, to their names in the source."""

    def short(text: str | None) -> str | None:
        text = text and _ARRAY.sub(r"NDArray[\1]", text.replace(_ARRAY_LIKE, "ArrayLike"))
        return text and _FUNCTION.sub(r"\1", text).replace("<factory>", "...")

    return short(given), short(gives)


def _space(app: Sphinx, doctree: nodes.document) -> None:
    for text in list(doctree.findall(nodes.Text)):
        if _SPACE in text:
            text.parent.replace(text, nodes.Text(text.replace(_SPACE, " ")))
        elif text == "Variables" and isinstance(text.parent, nodes.field_name):
            text.parent.replace(text, nodes.Text("Fields"))


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve references to public classes by their short name; leave unknown names as code."""
    if node.get("refdomain") != "py" or not node.get("refdoc", "").startswith((PAGES, OTHER)):
        return None
    domain = env.get_domain("py")
    name = node["reftarget"].rpartition(".")[2]
    candidates = [
        full for full in domain.objects if full.rpartition(".")[2] == name and full.count(".") == 2
    ]
    if len(candidates) == 1 and name[:1].isupper():
        entry = domain.objects[candidates[0]]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, [content], candidates[0]
        )
    return content


def _configure(app: Sphinx, config: Config) -> None:
    # autodoc_preserve_defaults stays off, because it changes the signatures that widgets read.
    config.autodoc_member_order = "bysource"
    config.autodoc_typehints_format = "short"


def setup(app: Sphinx) -> None:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("config-inited", _configure)
    app.setup_extension("sphinx.ext.autosummary")
    app.add_directive("cdml-api", ApiDirective)
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _short)
    app.connect("autodoc-skip-member", _skip)
    app.connect("doctree-read", _space)
    app.connect("missing-reference", _resolve)
