"""The short way through plain usage events, compiled from _plain.c where there was a C compiler at the installation.

It knows the events of nearly all traffic: printable ASCII without escapes, and numbers of 64 bits. What it does not
know it leaves to Python, and without it Python does all, with the same results. Why: docs/decisions/0018.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, cast


class Compiled(Protocol):
    """What _plain.c offers; None means that something is not plain."""

    def event(self, body: bytes, make: Callable[..., Any], /) -> Any:
        """What `make` makes of the members of a body: service, subscription, user, event key, quantity in millionths,
        time in ms, invoice, event id."""

    def batch(self, body: bytes, make: Callable[..., Any], /) -> list[Any] | None:
        """As event(), of each in a body that holds nothing but `usageEvents`."""

    def sent(self, *members: Any) -> bytes | None:
        """The value on `usage-events`."""

    def identity(self, *members: Any) -> tuple[bytes, bytes, str] | None:
        """The unique key of an event by subscription and event key, its fingerprint, and its meter."""

    def accepted(self, *fields: Any) -> bytes | None:
        """The value on `accepted-usage` of an event that was not voided."""


def _load() -> Compiled | None:
    try:
        from schemas import _plain  # type: ignore[attr-defined]  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return cast(Compiled, _plain)


compiled: Final = _load()
