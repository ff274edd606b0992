"""When a delivery that failed is tried again."""

from typing import Final

from schemas.timestamps import SECOND_MS

FIRST_MS: Final = 5 * SECOND_MS
LONGEST_MS: Final = 7_200 * SECOND_MS
ATTEMPTS_MAX: Final = 22
"""The first 11 waits, 5 + 10 + ... + 5,120 s, are 2.8 hours, and 10 more of 2 hours each make 22.8 hours until it is
given up, give or take a quarter."""
JITTER_RANGE: Final = 1_000


def delay_ms(attempts: int, jitter: int) -> int | None:
    """How long to wait after so many attempts have failed; None: give it up. `jitter`, at random in [0, 1000), takes
    the wait to between three and five quarters of its length, so that what failed together does not come back
    together."""
    if attempts >= ATTEMPTS_MAX:
        return None
    assert 0 <= jitter < JITTER_RANGE
    base = min(FIRST_MS << min(attempts - 1, 20), LONGEST_MS)
    return base * (3 * JITTER_RANGE + 2 * jitter) // (4 * JITTER_RANGE)
