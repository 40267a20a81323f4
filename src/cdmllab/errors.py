"""The errors for what a user can put right."""


class CdmlLabError(Exception):
    """A mistake of use, or a run that failed, told in one sentence, without a traceback."""


class DataError(CdmlLabError, ValueError):
    """A data file that is missing or is not what it should be; the sentence names the file, and the record or row."""
