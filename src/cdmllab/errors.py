"""The error for what a user can put right."""


class CdmlLabError(Exception):
    """A mistake of use, or a run that failed, told in one sentence, without a traceback."""
