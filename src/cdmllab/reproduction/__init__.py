"""A published row, trained and compared with one command: `cdmllab reproduce`."""

from cdmllab.reproduction.rows import ReproducibleRow, find, names, table

__all__ = ["ReproducibleRow", "find", "names", "table"]
