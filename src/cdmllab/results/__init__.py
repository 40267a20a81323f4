"""Measured and published numbers: the files of ``results/`` read, checked, and put together for the
book.
"""

from cdmllab.results.store import benchmark, folder, load

__all__ = ["benchmark", "folder", "load"]
