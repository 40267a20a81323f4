"""What all widgets share: one JavaScript source, live in Jupyter and static in the book."""

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
    """An anywidget that also says what it is in plain HTML, for pages without a kernel.

    A subclass says its `name`, that of its JavaScript file, the `parts` that this is built from
    besides the kit, and the `fallback` a reader without JavaScript sees; its state are the traits
    it tags with ``sync=True``. A widget that shows what a run has found cannot do without `needs`;
    its class has a method that makes them.
    """

    name: ClassVar[str]
    fallback: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if (
            "name" in cls.__dict__
        ):  # traitlets derives a class per instance, without a name of its own
            cls._esm = cls.source()
        super().__init_subclass__(**kwargs)

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.trait_names():
            known = ", ".join(self.state_traits())
            raise TypeError(
                f"{type(self).__name__} has no {', '.join(sorted(unknown))}; it has {known}"
            )
        if missing := [name for name in self.needs if name not in values]:
            raise TypeError(
                f"{type(self).__name__} shows what a run has found: give it {', '.join(missing)}"
            )
        super().__init__(**values)

    @classmethod
    def source(cls) -> str:
        """The widget's JavaScript, kit first: a module without imports and with one default
        export.
        """
        folder = resources.files("cdmllab.book.widgets")
        files = ("_kit", *(f"_{part}" for part in cls.parts), cls.name)
        return "\n".join((folder / f"{file}.js").read_text(encoding="utf-8") for file in files)

    @classmethod
    def state_traits(cls) -> dict[str, traitlets.TraitType[Any, Any]]:
        """The traits a widget declares itself, by name: its state, without what ipywidgets adds."""
        return {
            key: trait
            for key, trait in cls.class_traits(sync=True).items()
            if not key.startswith("_") and issubclass(trait.this_class, Widget)
        }

    def state(self) -> dict[str, Any]:
        """The current values, ready for JSON."""
        return {key: getattr(self, key) for key in self.state_traits()}

    def static_html(self) -> str:
        """The element which the book's script turns into the widget."""
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
    """Numbers of any shape as text: float32, little-endian, base64; the kit's `floats` reads it."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def unpacked(text: str, *shape: int) -> NDArray[np.float32]:
    """What `packed` was given, in a shape; flat without one."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(shape or (-1,))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:32]}...{text[-8:]}"
