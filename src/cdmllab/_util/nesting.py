"""How deep the lists and mappings of a file are nested."""

DEEPEST = 100  # in a JSON file; functions that call themselves fail at about 900


def is_nested(value: object, *, deeper_than: int) -> bool:
    """Whether lists and mappings lie within each other deeper than a limit.

    Level by level, because functions that call themselves would fail on what is too deep.
    """
    level = [value]
    for _ in range(deeper_than + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
