"""The clocks of brokers and Postgres against this machine's, each with the bound of the error.

A clock is read between two readings of one's own, and so stood, by one's own, somewhere between the two: half of their
distance is the most that the difference can be wrong by. A broker shows its clock by the append time of a record, here
an empty one on a partition of `usage-replies` that it leads: gateways pass over what nobody waits for there, and it is
deleted after ten minutes.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
from aiokafka import AIOKafkaProducer

from deploy.cluster import FoundTopic
from deploy.doctor.database import SQL
from deploy.doctor.finding import Finding, fail, named, ok, unknown, warn

PROBES: Final = 5
"""Of several readings the quickest is the most exact."""
ROUNDING_MS: Final = 1
"""An append time has whole milliseconds."""
SECOND_MS: Final = 1_000
WARN_MS: Final = 1_000
FAIL_MS: Final = 60_000
KEY: Final = b"tally-doctor"

Clock = Callable[[], Awaitable[float]]
"""Reads a clock: ms since 1970."""


@dataclass(slots=True, frozen=True)
class Skew:
    """How far a clock is ahead of this machine's, in ms, give or take `error`."""

    whose: str
    ahead: float
    error: float

    @property
    def least(self) -> float:
        """How far the two are apart for certain."""
        return max(0.0, abs(self.ahead) - self.error)

    def __str__(self) -> str:
        return f"{self.whose} {self.ahead:+,.0f} ms (±{self.error:,.0f})"


async def measure(whose: str, clock: Clock) -> Skew:
    """Compare a clock with this machine's."""
    skews = []
    for _ in range(PROBES):
        before = _now()
        shown = await clock()
        after = _now()
        skews.append(Skew(whose, shown - (before + after) / 2, (after - before) / 2 + ROUNDING_MS))
    return min(skews, key=lambda skew: skew.error)


def _now() -> float:
    return time.time() * SECOND_MS


async def measure_postgres(connection: asyncpg.Connection) -> Skew:
    """That of the database server."""

    async def clock() -> float:
        return float((await connection.fetchval(SQL["clock"])).timestamp() * SECOND_MS)

    return await measure("Postgres", clock)


async def measure_brokers(bootstrap: str, topic: str, replies: FoundTopic, seconds: float) -> list[Skew]:
    """Those of the brokers that lead a partition of the topic of replies. Raises KafkaError."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks=1, linger_ms=0, request_timeout_ms=int(seconds * SECOND_MS)
    )
    await producer.start()
    try:
        return [
            await measure(f"broker {broker}", _broker_clock(producer, topic, partition))
            for broker, partition in sorted(leaders(replies).items())
        ]
    finally:
        await producer.stop()


def leaders(topic: FoundTopic) -> Mapping[int, int]:
    """Of each broker that leads one, a partition."""
    return {part.leader: part.number for part in topic.partitions if part.leader >= 0}


def _broker_clock(producer: AIOKafkaProducer, topic: str, partition: int) -> Clock:
    async def clock() -> float:
        appended = await producer.send_and_wait(topic, value=b"", key=KEY, partition=partition)
        return float(appended.timestamp)

    return clock


def judge_clocks(brokers: Sequence[Skew], unseen: Iterable[int], postgres: Skew | None) -> Iterator[Finding]:
    """Whether they agree: first the brokers among each other, which is what counts (design section 2)."""
    if brokers:
        yield _among_brokers(brokers)
    for skew in (*brokers, *([postgres] if postgres is not None else [])):
        yield _against_this(skew)
    if silent := [str(broker) for broker in unseen]:
        yield unknown(
            "clocks",
            f"broker {named(silent)} leads no partition of usage-replies, so its clock was not seen",
            "Elect the preferred leaders (kafka-leader-election.sh), then run this again.",
        )


def _among_brokers(brokers: Sequence[Skew]) -> Finding:
    first, last = min(brokers, key=lambda skew: skew.ahead), max(brokers, key=lambda skew: skew.ahead)
    apart, error = last.ahead - first.ahead, last.error + first.error
    fact = f"{len(brokers)} brokers, at most {apart + error:,.0f} ms apart"
    if len(brokers) == 1:
        return ok("broker clocks", "one broker, one clock")
    if apart - error < WARN_MS:
        return ok("broker clocks", fact)
    return _judged(apart - error)(
        "broker clocks",
        f"{last.whose} is {apart:,.0f} ms (±{error:,.0f}) ahead of {first.whose}: a change of status and a usage event"
        " that close together may be judged in the wrong order",
        "Let all brokers keep their time by NTP (chrony), and watch it.",
    )


def _against_this(skew: Skew) -> Finding:
    fact = f"{skew} against this machine's clock"
    if skew.least < WARN_MS:
        return ok("clocks", fact)
    return _judged(skew.least)(
        "clocks", fact, "One of the two clocks is wrong. Let both machines keep their time by NTP (chrony)."
    )


def _judged(least_ms: float) -> Callable[[str, str, str], Finding]:
    return fail if least_ms >= FAIL_MS else warn
