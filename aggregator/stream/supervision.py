"""Sessions that begin again when Kafka or Postgres went away, until the process is told to stop."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from aggregator.stream.progress import Progress, Stalls
from schemas.errors import OperatorError

log = logging.getLogger(__name__)

BACKOFF_MIN_SECONDS: Final = 0.1
BACKOFF_MAX_SECONDS: Final = 5.0

STOP_SECONDS: Final = 8.0
"""What is in hand gets this long when the process is told to stop: a batch takes well under a second, and what waits
longer waits for a server that is silent. To cut it off does no harm: the next session asks what became of it."""

AWAY: Final = (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a broken connection may raise; the last, where the server's goodbye came between two statements."""

_UNMENDABLE: Final = ("28", "3D", "42")
"""SQLSTATE classes that no retry mends: may not log in, no such database, no such table or no privilege."""


class Availability:
    """Whether Kafka and Postgres answer, and the reading gets on. A change is logged once, and shown as 0 or 1."""

    def __init__(
        self, process: str, gauge: Gauge, stalled_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._process = process
        self._gauge = gauge
        self._seconds = stalled_seconds
        self._clock = clock
        self._pause = 0.0
        self._away: str | None = None
        self._answered_at: float | None = None
        self._stalls: Stalls[TopicPartition] = Stalls(stalled_seconds)

    def answering(self) -> None:
        """A session has done what it is for."""
        if self._away is not None:
            log.info("Kafka and Postgres answer the %s again.", self._process)
        self._away, self._pause = None, 0.0
        self._answered_at = self._clock()
        self._gauge.set(1)

    def reading(self, partitions: Mapping[TopicPartition, Progress]) -> None:
        """Where the session stands; without partitions it waits for its turn."""
        self._stalls.observe(self._clock(), partitions)

    def away(self, error: Exception) -> float:
        """A session has failed; returns how long to wait before the next, in seconds."""
        why = f"{type(error).__name__}: {error}"
        if self._away is None:
            log.warning(
                "Kafka or Postgres does not answer the %s, which tries again until they do: %s", self._process, why
            )
        self._away = why
        self._gauge.set(0)
        self.reading({})
        self._pause = min(BACKOFF_MAX_SECONDS, max(BACKOFF_MIN_SECONDS, 2 * self._pause))
        return self._pause

    def unready(self) -> list[str]:
        """What is wrong, a sentence each; nothing: the process is ready."""
        if self._away is not None:
            return [f"Kafka or Postgres does not answer the {self._process}: {self._away}."]
        if self._answered_at is None:
            return [f"The {self._process} has not heard of both Kafka and Postgres yet."]
        now = self._clock()
        silent = now - self._answered_at
        sentences = [
            f"Partition {stall.key.partition} of {stall.key.topic} has {stall.lag} records to read, and none was read"
            f" for {stall.seconds:.0f} s."
            for stall in self._stalls.stalled(now)
        ]
        if silent >= self._seconds:
            sentences.append(f"The {self._process} has done nothing for {silent:.0f} s: Kafka or Postgres is silent.")
        return sentences


async def keep_running(
    session: Callable[[], Coroutine[Any, Any, None]],
    availability: Availability,
    process: str,
    stop: asyncio.Event,
    stop_seconds: float = STOP_SECONDS,
) -> None:
    """Run one session after another until `stop` is set. Raises OperatorError for what only a person can mend."""
    while not stop.is_set():
        try:
            await _run_until_stopped(session(), stop, stop_seconds)
        except AWAY as error:
            if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in _UNMENDABLE:
                raise OperatorError(
                    f"Postgres refuses the {process} ({str(error).splitlines()[0]}): "
                    "run 'tally migrate', or check TALLY_DATABASE_URL."
                ) from error
            await pause(stop, availability.away(error))


async def _run_until_stopped(session: Coroutine[Any, Any, None], stop: asyncio.Event, stop_seconds: float) -> None:
    """Run a session to its end, which comes `stop_seconds` after `stop` was set at the latest."""
    running, stopping = asyncio.create_task(session), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=stop_seconds)
    finally:
        stopping.cancel()
        is_late = running.cancel()
        await asyncio.wait({running})
    if is_late and running.cancelled():
        log.warning("What was in hand did not end within %g s and was cut off.", stop_seconds)
    else:
        running.result()


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
