"""A published row, trained and compared with one command: `cdmllab reproduce`."""

from cdmllab.reproduction.rows import Row, find, names, table

__all__ = ["Row", "find", "names", "table"]
