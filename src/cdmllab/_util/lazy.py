"""Modules of a package that are imported on first use."""

import importlib
from collections.abc import Callable, Iterable
from types import ModuleType


def modules(
    package: str, names: Iterable[str], also: Iterable[str] = ()
) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package that imports its modules on first use.

    Parameters
    ----------
    package : the package's ``__name__``
    names : the modules, usually its ``__all__``
    also : further names for ``__dir__``
    """
    available = tuple(names)

    def get(name: str) -> ModuleType:
        if name in available:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: [*available, *also]
