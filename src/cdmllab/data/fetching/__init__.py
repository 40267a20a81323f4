"""Data sets from their mirrors: what is known of them, and a download that survives whatever a network does."""

from cdmllab.data.fetching.files import Fetched, fetch
from cdmllab.data.fetching.http import PATIENT, Patience
from cdmllab.data.fetching.manifest import File, Mirror, Set, Sets, known

__all__ = ["PATIENT", "Fetched", "File", "Mirror", "Patience", "Set", "Sets", "fetch", "known"]
