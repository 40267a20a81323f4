"""Measured and published numbers: read, check and combine the files of ``results/``."""

from cdmllab.results.store import benchmark, folder, load

__all__ = ["benchmark", "folder", "load"]
