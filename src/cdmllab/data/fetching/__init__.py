"""Resumable downloads from several mirrors, checked against the registry of data sets."""

from cdmllab.data.fetching.files import Fetched, fetch, free_bytes, missing_bytes
from cdmllab.data.fetching.http import PATIENT, Patience, Progress
from cdmllab.data.registry import Mirror, RemoteFile

__all__ = [
    "PATIENT",
    "Fetched",
    "Mirror",
    "Patience",
    "Progress",
    "RemoteFile",
    "fetch",
    "free_bytes",
    "missing_bytes",
]
