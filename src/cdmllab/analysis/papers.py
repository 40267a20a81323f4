"""What each registered loss says about its paper: one sentence and a link, from its docstrings."""

import inspect
import re
import sys

from cdmllab import margins


def sentence(name: str) -> str:
    """The idea of a loss in one sentence: the first of its module's docstring, without the name.

    A loss whose module has no docstring is described by its own `describe`.

    Raises
    ------
    ValueError : unknown name

    Examples
    --------
    >>> sentence("adaface")
    'The length of the embedding, a proxy for image quality, sets the kind of margin.'
    """
    module = sys.modules.get(margins.builder(name).__module__)
    first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ").strip()
    if not first:
        first = (inspect.getdoc(margins.builder(name)) or "").split("\n\n")[0].replace("\n", " ")
    said = first.split(": ", 1)[-1].strip()
    return said[:1].upper() + said[1:] if said else f"{margins.label(name)}, without a docstring."


def link(name: str) -> str:
    """The address of a loss's paper: the first reference of its docstring; empty without one.

    Raises
    ------
    ValueError : unknown name

    Examples
    --------
    >>> link("arcface")
    'https://arxiv.org/abs/1801.07698'
    """
    text = inspect.getdoc(margins.builder(name)) or ""
    targets = dict(re.findall(r"^\.\. _(.+?): (https?://\S+)$", text, re.MULTILINE))
    body = text.split("\n.. _", 1)[0]
    # A reference is the target's name, in backquotes if it has spaces, and an underscore.
    places = {
        key: match.start()
        for key in targets
        if (match := re.search(rf"(?<![\w.])`?{re.escape(key)}`?_(?!\w)", body))
    }
    return targets[min(places, key=places.__getitem__)] if places else ""
