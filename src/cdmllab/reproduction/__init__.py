"""Reproduce rows of the published tables: `cdmllab reproduce`."""

from cdmllab.reproduction.rows import ReproducibleRow, find, names, table

__all__ = ["ReproducibleRow", "find", "names", "table"]
