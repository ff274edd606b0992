"""When a part is ready, as tables: at each second what was seen, and what it then says of itself."""

import asyncio

import pytest
from aiokafka import TopicPartition
from prometheus_client import Gauge

from aggregator.engine.liveness import Liveness
from aggregator.stream.progress import Progress
from aggregator.stream.supervision import Availability, keep_running
from schemas.errors import OperatorError

STALLED_SECONDS = 30

MOVED, IDLE, OPENING = "moved", "idle", None
"""What a partition did since it was last looked at: it decided something and has more, has nothing left, or is not open
yet. A number: so many records wait, and it decided none."""

Seen = dict[int, str | int | None] | str

LIVES: dict[str, list[tuple[int, Seen | None, str]]] = {
    # (second, what is seen of partitions 0 and 1 or why Kafka is away, what it says then)
    "joins, opens, works": [
        (0, None, "not joined"),
        (5, None, "not joined"),
        (6, {0: OPENING, 1: OPENING}, "0 opening 0 s, 1 opening 0 s"),
        (8, {0: IDLE, 1: OPENING}, "1 opening 2 s"),
        (9, {0: IDLE, 1: MOVED}, ""),
    ],
    "a standby is ready": [(0, None, "not joined"), (1, {}, "")],
    "stands still with records to decide": [
        (0, {0: IDLE}, ""),
        (1, {0: IDLE}, ""),
        (2, {0: 7}, ""),
        (31, {0: 9}, ""),
        (32, {0: 9}, "0 stalled 30 s"),
        (40, {0: 12}, "0 stalled 38 s"),
        (41, {0: MOVED}, ""),
        (70, {0: 3}, ""),
        (71, {0: 3}, "0 stalled 30 s"),
        (72, {0: IDLE}, ""),
    ],
    "moves, though it never catches up": [(second, {0: MOVED}, "") for second in range(0, 300, 25)],
    "an idle hour counts for nothing": [
        (0, {0: IDLE}, ""),
        (3600, {0: IDLE}, ""),
        (3601, {0: 1}, ""),
        (3629, {0: 1}, ""),
    ],
    "one of two": [
        (0, {0: IDLE, 1: IDLE}, ""),
        (20, {0: MOVED, 1: 5}, ""),
        (50, {0: MOVED, 1: 5}, "1 stalled 30 s"),
    ],
    "stalled, then somebody else's": [
        (0, {0: 1}, ""),
        (30, {0: 1}, "0 stalled 30 s"),
        (31, {}, ""),
        (32, {0: OPENING}, ""),
        (33, {0: 1}, ""),
        (62, {0: 1}, ""),
        (63, {0: 1}, "0 stalled 30 s"),
    ],
    "a later opening may take its time, but no longer": [
        (0, {0: IDLE}, ""),
        (10, {0: IDLE, 1: OPENING}, ""),
        (39, {0: IDLE, 1: OPENING}, ""),
        (40, {0: IDLE, 1: OPENING}, "1 opening 30 s"),
    ],
    "Kafka goes away and comes back": [
        (0, {0: IDLE}, ""),
        (1, "no answer", "away"),
        (3, {0: IDLE}, ""),
    ],
    "Kafka is away before the first partitions": [(0, "no answer", "away"), (1, {}, "")],
    "nobody looks any more": [
        (0, {0: IDLE}, ""),
        (29, None, ""),
        (30, None, "hangs 30 s"),
    ],
}


@pytest.mark.parametrize("life", LIVES)
def test_what_a_worker_says_of_itself(life: str) -> None:
    liveness = Liveness(STALLED_SECONDS)
    positions = {0: 1_000, 1: 1_000}
    for second, seen, expected in LIVES[life]:
        if isinstance(seen, str):
            liveness.away(second, seen)
        elif seen is not None:
            liveness.observe(second, {number: progress(positions, number, done) for number, done in seen.items()})
        assert ", ".join(map(shortened, liveness.unready(second))) == expected, second


def progress(positions: dict[int, int], number: int, done: str | int | None) -> Progress | None:
    if done is OPENING:
        return None
    if isinstance(done, int):
        return Progress(positions[number], done)
    positions[number] += done == MOVED
    return Progress(positions[number], 100 if done == MOVED else 0)


def shortened(sentence: str) -> str:
    words = sentence.rstrip(".").split()
    if "joined its group" in sentence:
        return "not joined"
    if "Kafka does not answer" in sentence:
        return "away"
    if "it hangs" in sentence:
        return f"hangs {words[8]} s"
    return f"{words[1]} {'opening' if 'opening' in words else 'stalled'} {words[-2]} s"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


TOPIC_0 = TopicPartition("closed-periods", 0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def availability(clock: Clock) -> Availability:
    return Availability("closer", Gauge("up", "", registry=None), STALLED_SECONDS, clock)


def test_a_process_is_ready_once_it_has_heard_of_its_servers(availability: Availability) -> None:
    assert availability.unready() == ["The closer has not heard of both Kafka and Postgres yet."]
    availability.answering()
    assert availability.unready() == []


def test_a_process_is_not_ready_while_a_server_is_away(availability: Availability) -> None:
    availability.answering()
    availability.away(ConnectionRefusedError("no"))
    assert availability.unready() == ["Kafka or Postgres does not answer the closer: ConnectionRefusedError: no."]
    availability.answering()
    assert availability.unready() == []


def test_a_process_is_not_ready_where_its_servers_are_silent(availability: Availability, clock: Clock) -> None:
    availability.answering()
    clock.now = 29.9
    assert availability.unready() == []
    clock.now = 30
    (sentence,) = availability.unready()
    assert sentence == "The closer has done nothing for 30 s: Kafka or Postgres is silent."


def test_a_process_is_not_ready_where_records_wait_and_none_is_read(availability: Availability, clock: Clock) -> None:
    for clock.now, lag in ((0.0, 0), (10.0, 2), (39.9, 2)):
        availability.answering()
        availability.reading({TOPIC_0: Progress(5, lag)})
        assert availability.unready() == []
    clock.now = 40
    availability.answering()
    availability.reading({TOPIC_0: Progress(5, 2)})
    (sentence,) = availability.unready()
    assert sentence == "Partition 0 of closed-periods has 2 records to read, and none was read for 30 s."
    availability.reading({})
    assert availability.unready() == [], "another closer writes now"


async def test_a_session_that_does_not_end_is_cut_off_when_the_process_must_stop(availability: Availability) -> None:
    stop, began, was_cut_off = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def session() -> None:
        began.set()
        try:
            await asyncio.Event().wait()  # a server that is silent
        finally:
            was_cut_off.set()

    running = asyncio.create_task(keep_running(session, availability, "closer", stop, stop_seconds=0.05))
    await began.wait()
    assert not running.done()
    stop.set()
    async with asyncio.timeout(10):
        await running
    assert was_cut_off.is_set()


async def test_a_session_that_ends_in_time_is_not_cut_off_and_raises_what_went_wrong(
    availability: Availability,
) -> None:
    stop, began = asyncio.Event(), asyncio.Event()

    async def session() -> None:
        began.set()
        await stop.wait()
        await asyncio.sleep(0)
        raise OperatorError("a person must mend this")

    running = asyncio.create_task(keep_running(session, availability, "closer", stop))
    await began.wait()
    stop.set()
    with pytest.raises(OperatorError):
        await running
