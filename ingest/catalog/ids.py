"""The ids that Tally chooses where the caller has none."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import UUID, uuid5

_SEED: Final[ContextVar[UUID | None]] = ContextVar("seed", default=None)


def new_id(prefix: str) -> str:
    """An id that nobody has yet. A request chooses at most one of each prefix."""
    seed = _SEED.get()
    chosen = secrets.token_hex(12) if seed is None else uuid5(seed, prefix).hex[:24]
    return f"{prefix}_{chosen}"


@contextmanager
def ids_from(seed: UUID) -> Iterator[None]:
    """Within the block an id is the same for the same seed: whoever executes a request again, because nobody knows
    whether it was executed, finds what it created."""
    token = _SEED.set(seed)
    try:
        yield
    finally:
        _SEED.reset(token)
