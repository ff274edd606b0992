"""Errors that reach the person who runs Tally."""


class OperatorError(Exception):
    """Something a person must mend. Its text is one sentence: what is wrong, and what to do."""

    exit_code = 1
