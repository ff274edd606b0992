"""How long a caller wants to wait for the verdict: the header Prefer of RFC 7240, with `wait` and `respond-async`."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

WAIT_SECONDS_DEFAULT: Final = 5
WAIT_SECONDS_MAX: Final = 30

_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.ASCII | re.IGNORECASE).fullmatch


class Preference(NamedTuple):
    """How long to wait, in seconds; and what of the caller's wishes is followed, for the header Preference-Applied."""

    seconds: int
    applied: str = ""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header that says so."""
        return [(b"preference-applied", self.applied.encode())] if self.applied else []


_DEFAULT: Final = Preference(WAIT_SECONDS_DEFAULT)


def preference(headers: Iterable[tuple[bytes, bytes]]) -> Preference:
    """What the headers of a request ask for.

    Of several preferences of one name the first counts, and one that can't be followed is ignored (RFC 7240, section
    2). `respond-async` alone is not to wait at all; with `wait` it is to wait for so long first (section 4.3).
    """
    given = [value for name, value in headers if name == b"prefer"]
    if not given:
        return _DEFAULT
    seconds: int | None = None
    is_async = False
    for wish in b",".join(given).decode("latin-1").split(","):
        token = wish.partition(";")[0].strip()
        if (wait := _WAIT(token)) is not None and seconds is None:
            seconds = min(int(wait[1]), WAIT_SECONDS_MAX)
        is_async = is_async or token.lower() == "respond-async"
    applied = ["respond-async"] * is_async + [f"wait={seconds}"] * (seconds is not None)
    if seconds is None:
        seconds = 0 if is_async else WAIT_SECONDS_DEFAULT
    return Preference(seconds, ", ".join(applied))
