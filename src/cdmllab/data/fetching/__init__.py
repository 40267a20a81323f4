"""Data sets from their mirrors: what is known of them, and a download that survives whatever a network does."""

from cdmllab.data.fetching.files import Fetched, fetch, free_bytes, missing_bytes
from cdmllab.data.fetching.http import PATIENT, Patience, Progress
from cdmllab.data.fetching.manifest import File, Mirror, Set, Sets, known

__all__ = [
    "PATIENT",
    "Fetched",
    "File",
    "Mirror",
    "Patience",
    "Progress",
    "Set",
    "Sets",
    "fetch",
    "free_bytes",
    "known",
    "missing_bytes",
]
