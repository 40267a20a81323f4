"""YAML from anybody, in bounded time and memory: plain values only, no more of them than a config
can need.
"""

import re
from typing import Any

import yaml

from cdmllab.errors import DataError, cause, plain

LARGEST = 128 << 10  # bytes of a file; PyYAML may take a second for ten thousand of them
DEEPEST = 40  # lists and mappings within each other
MOST_WRITTEN = 20_000  # values in the text
MOST = 100_000  # values, once every alias is replaced by what it stands for
LONGEST_NUMBER = 40  # characters; Python's whole numbers have no end, and take ever longer to read

_PREFIX = "tag:yaml.org,2002:"
_NUMBERS = {f"{_PREFIX}int", f"{_PREFIX}float"}
_PLAIN = {
    f"{_PREFIX}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for plain values: dates are text, ``1e-3`` a number, each key is text
    and comes once.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  as in the class above
        first: [(tag, pattern) for tag, pattern in known if tag in _PLAIN]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = written = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node of the document; what no config needs ends the reading before it costs
        anything.
        """
        self.depth += 1
        self.written += 1
        if self.depth > DEEPEST:
            raise _refused(f"it is nested more than {DEEPEST} deep", self.peek_event())
        if self.written > MOST_WRITTEN:
            raise _refused(f"it has over {MOST_WRITTEN:,} values", self.peek_event())
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        if node.tag not in _PLAIN:
            raise _refused(f"the tag {plain(node.tag, 60)} is not allowed", node)
        if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise _refused(f"a number of {len(node.value):,} characters", node)
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node

    def get_single_node(self) -> Any:
        """The document, if it stays small when its aliases are replaced."""
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node


_Loader.add_implicit_resolver(
    f"{_PREFIX}float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse(text: str | bytes, where: str) -> Any:
    """What a text in YAML says: mappings with text for keys, lists, text, numbers, true and false,
    null.

    Parameters
    ----------
    text : in UTF-8
    where : it is, for the complaint

    Raises
    ------
    DataError : it is not YAML, or holds other things, or is too large, too deep or grows too much
        by its aliases
    """
    if len(text) > LARGEST:
        raise DataError(
            f"{plain(where, 200)} has {len(text):,} characters; {LARGEST:,} are allowed"
        )
    try:
        return yaml.load(text.decode() if isinstance(text, bytes) else text, _Loader)
    except DataError:
        raise
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" (line {error.problem_mark.line + 1})"
        raise DataError(
            plain(f"{plain(where, 200)} is not readable YAML: {error.problem}{line}")
        ) from error
    except Exception as error:  # PyYAML lets out what Python raises beneath it
        raise DataError(
            plain(f"{plain(where, 200)} is not readable YAML: {cause(error)}")
        ) from error


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, at.start_mark)


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag == f"{_PREFIX}merge":
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_PREFIX}str":
            shown = (
                plain(key.value, 40) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            )
            raise _refused(f"the key {shown} is not text: quote it", key)
        if key.value in seen:
            raise _refused(f"the key {plain(key.value, 60)} is there twice", key)
        seen.add(key.value)


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for; `known` has the nodes counted so far, None while one is
    being counted.
    """
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise _refused("an alias stands for what it is a part of", node)
        return found
    known[id(node)] = None
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_size(child, known) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(_size(child, known) for pair in node.value for child in pair)
    if total > MOST:
        raise _refused(f"its aliases stand for more than {MOST:,} values", node)
    known[id(node)] = total
    return total
