"""Data sets from their mirrors: what is known of them, and a download that survives whatever a
network does.
"""

from cdmllab.data.fetching.files import Fetched, fetch, free_bytes, missing_bytes
from cdmllab.data.fetching.http import PATIENT, Patience, Progress
from cdmllab.data.fetching.manifest import Mirror, RemoteFile, Set, Sets, known

__all__ = [
    "PATIENT",
    "Fetched",
    "Mirror",
    "Patience",
    "Progress",
    "RemoteFile",
    "Set",
    "Sets",
    "fetch",
    "free_bytes",
    "known",
    "missing_bytes",
]
