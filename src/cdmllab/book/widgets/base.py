"""The base of all widgets: one JavaScript source for Jupyter and for the book's pages."""

import base64
import html
import json
from importlib import resources
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray


class Widget(anywidget.AnyWidget):
    """An anywidget that also has a plain HTML form, for pages without a kernel.

    A subclass defines its `name`, which is that of its JavaScript file, the `parts` that this file
    uses in addition to the kit, and the `fallback` text for readers without JavaScript. Its state
    consists of the traits tagged with ``sync=True``. The values named in `needs` are results of a
    run and have no defaults; the class has a method that computes them.
    """

    name: ClassVar[str]
    fallback: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # traitlets derives another class for each instance, which does not define a name.
        if "name" in cls.__dict__:
            cls._esm = cls.source()  # found by anywidget
        super().__init_subclass__(**kwargs)

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.trait_names():
            known = ", ".join(self.state_traits())
            raise TypeError(
                f"{type(self).__name__} has no value {', '.join(sorted(unknown))}; it has {known}"
            )
        if missing := [name for name in self.needs if name not in values]:
            raise TypeError(
                f"{type(self).__name__} shows results of a run and needs {', '.join(missing)}"
            )
        super().__init__(**values)

    @classmethod
    def source(cls) -> str:
        """The widget's JavaScript, kit first: a module with one default export, no imports."""
        folder = resources.files("cdmllab.book.widgets")
        files = ("_kit", *(f"_{part}" for part in cls.parts), cls.name)
        return "\n".join((folder / f"{file}.js").read_text(encoding="utf-8") for file in files)

    @classmethod
    def state_traits(cls) -> dict[str, traitlets.TraitType[Any, Any]]:
        """The traits that make up the widget's state, by name, without those of ipywidgets."""
        # Private traits and those of ipywidgets are not the widget's own.
        return {
            key: trait
            for key, trait in cls.class_traits(sync=True).items()
            if not key.startswith("_") and issubclass(trait.this_class, Widget)
        }

    def state(self) -> dict[str, Any]:
        """The current values, ready for JSON."""
        return {key: getattr(self, key) for key in self.state_traits()}

    def static_html(self) -> str:
        """The HTML element that the book's script turns into the widget."""
        # JSON within an HTML attribute, so quotes are escaped; NaN would not be JSON.
        state = html.escape(json.dumps(self.state(), allow_nan=False), quote=True)
        return (
            f'<div class="cdml-widget" data-widget="{self.name}" data-state="{state}">'
            f'<p class="cdml-widget-fallback">{html.escape(self.fallback)}</p></div>'
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={_short(value)}" for key, value in self.state().items())
        return f"{type(self).__name__}({values})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, "text/html": self.static_html()}, metadata


def packed(values: ArrayLike) -> str:
    """Encode numbers of any shape as little-endian float32 in base64, for the kit's `floats`."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def unpacked(text: str, *shape: int) -> NDArray[np.float32]:
    """Decode the result of `packed` into an array of the given shape; flat without one."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(shape or (-1,))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:32]}...{text[-8:]}"
