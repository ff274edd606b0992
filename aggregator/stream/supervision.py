"""Sessions that begin again when Kafka or Postgres went away, until the process is told to stop."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from schemas.errors import OperatorError

log = logging.getLogger(__name__)

BACKOFF_MIN_SECONDS: Final = 0.1
BACKOFF_MAX_SECONDS: Final = 5.0

AWAY: Final = (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a broken connection may raise; the last, where the server's goodbye came between two statements."""

_UNMENDABLE: Final = ("28", "3D", "42")
"""SQLSTATE classes that no retry mends: may not log in, no such database, no such table or no privilege."""


class Availability:
    """Whether Kafka and Postgres answer. It is logged once for each change, and shown as 0 or 1."""

    def __init__(self, process: str, gauge: Gauge) -> None:
        self._process = process
        self._gauge = gauge
        self._pause = 0.0
        self._is_away = False

    def answering(self) -> None:
        """A session has done what it is for."""
        if self._is_away:
            log.info("Kafka and Postgres answer the %s again.", self._process)
        self._is_away, self._pause = False, 0.0
        self._gauge.set(1)

    def away(self, error: Exception) -> float:
        """A session has failed; returns how long to wait before the next, in seconds."""
        if not self._is_away:
            log.warning(
                "Kafka or Postgres does not answer the %s, which tries again until they do: %s: %s",
                self._process,
                type(error).__name__,
                error,
            )
        self._is_away = True
        self._gauge.set(0)
        self._pause = min(BACKOFF_MAX_SECONDS, max(BACKOFF_MIN_SECONDS, 2 * self._pause))
        return self._pause


async def keep_running(
    session: Callable[[], Awaitable[None]], availability: Availability, process: str, stop: asyncio.Event
) -> None:
    """Run one session after another until `stop` is set. Raises OperatorError for what only a person can mend."""
    while not stop.is_set():
        try:
            await session()
        except AWAY as error:
            if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in _UNMENDABLE:
                raise OperatorError(
                    f"Postgres refuses the {process} ({str(error).splitlines()[0]}): "
                    "run 'tally migrate', or check TALLY_DATABASE_URL."
                ) from error
            await pause(stop, availability.away(error))


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
