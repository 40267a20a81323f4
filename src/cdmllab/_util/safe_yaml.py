"""Parse untrusted YAML in bounded time and memory: plain values only, and not too many."""

import re
from typing import Any

import yaml

from cdmllab.errors import DataError, cause, plain

LARGEST = 128 << 10  # bytes of a file; PyYAML may need a second per ten thousand
DEEPEST = 40  # nested lists and mappings
MOST_WRITTEN = 20_000  # values in the text
MOST = 100_000  # values, with every alias expanded
LONGEST_NUMBER = 40  # characters; Python's integers are unbounded, and parsing time is quadratic

_PREFIX = "tag:yaml.org,2002:"
_NUMBERS = {f"{_PREFIX}int", f"{_PREFIX}float"}
_PLAIN = {
    f"{_PREFIX}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for plain values, with unique text keys.

    Unlike PyYAML's own, it reads dates as text and ``1e-3`` as a number.
    """

    # The patterns by which unquoted text is read as another type, without that of dates.
    yaml_implicit_resolvers = {  # noqa: RUF012  as in the class above
        first: [(tag, pattern) for tag, pattern in known if tag in _PLAIN]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = written = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; refuse what no config needs before it takes time or memory."""
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
        """The document, if it stays small when its aliases are expanded."""
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node


# PyYAML's own pattern requires a dot and a signed exponent: 1e-3 would be text.
_Loader.add_implicit_resolver(
    f"{_PREFIX}float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse(text: str | bytes, where: str) -> Any:
    """Parse YAML of mappings with text keys, lists, text, numbers, booleans and null.

    Parameters
    ----------
    text : in UTF-8
    where : the text comes from, named in errors

    Raises
    ------
    DataError : not YAML, other values, or too large, too deep, or with too many aliased values
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
    except Exception as error:  # PyYAML does not wrap what Python raises
        raise DataError(
            plain(f"{plain(where, 200)} is not readable YAML: {cause(error)}")
        ) from error


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, at.start_mark)


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag == f"{_PREFIX}merge":  # "<<"
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_PREFIX}str":
            label = (
                plain(key.value, 40) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            )
            raise _refused(f"the key {label} is not text: quote it", key)
        if key.value in seen:
            raise _refused(f"the key {plain(key.value, 60)} occurs twice", key)
        seen.add(key.value)


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """The number of values of a node, with aliases expanded.

    `known` has the nodes counted so far, with None while one is being counted, which is how an
    alias to its own ancestor is found.
    """
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise _refused("an alias refers to a node that contains it", node)
        return count
    known[id(node)] = None  # being counted
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_size(child, known) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(_size(child, known) for pair in node.value for child in pair)
    if total > MOST:
        raise _refused(f"its aliases stand for more than {MOST:,} values", node)
    known[id(node)] = total
    return total
