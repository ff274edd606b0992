"""The workers: who is there, where each partition stands, and whether its ledger adds up."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import UNREADABLE
from deploy.doctor.finding import Finding, fail, named, ok, warn
from deploy.doctor.log import Log
from deploy.doctor.reading import Reader
from schemas.position import SOURCES, Ledger, Position, first_position
from schemas.settings import Settings
from schemas.topics import Topic

READER: Final = Reader(
    "workers",
    "decided",
    "Start 'tally aggregator', or see its log and its exit code, which docs/operations.md explains.",
    "The worker halts (24): docs/operations.md says how to bring the topic back. Until then nobody knows which invoices"
    " are too low.",
    "The worker halts (25): check TALLY_KAFKA and TALLY_TOPIC_PREFIX, and never make a topic anew that was counted.",
)


@dataclass(slots=True, frozen=True)
class Partitions:
    """What `aggregator-positions` says of each partition: its position, or why that can't be read."""

    count: int
    positions: Mapping[int, Position] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)


async def find_partitions(log: Log, settings: Settings, count: int) -> Partitions:
    """Read the last position of each of so many partitions."""
    topic = settings.topic(Topic.AGGREGATOR_POSITIONS)
    places = [TopicPartition(topic, number) for number in range(count)]
    positions: dict[int, Position] = {}
    unreadable: dict[int, str] = {}
    for place, record in (await log.last(places)).items():
        try:
            positions[place.partition] = Position.of_json(record.value)
        except UNREADABLE as error:
            unreadable[place.partition] = f"offset {record.offset}: {_why(record.value, error)}"
    return Partitions(count, positions, unreadable)


def _why(value: bytes, error: Exception) -> str:
    if not isinstance(error, AssertionError):
        return f"is not one that a worker wrote ({type(error).__name__})"
    return f"its ledger does not add up: {json.dumps(json.loads(value)['ledger'])}"


def offsets_of(partitions: Partitions, settings: Settings) -> Offsets:
    """The position in each source; 0 where nothing was decided yet. A partition whose position can't be read is left
    out."""
    nothing = first_position(partitions.count)
    return {
        TopicPartition(settings.topic(topic), number): partitions.positions.get(number, nothing).positions[topic]
        for number in range(partitions.count)
        if number not in partitions.unreadable
        for topic in SOURCES
    }


async def find_members(admin: AIOKafkaAdminClient, group: str) -> int:
    """How many workers are in the consumer group."""
    try:
        described = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:  # no group has ever been
        return 0
    return sum(len(members) for answer in described for _, _, _, _, _, members, *_ in answer.groups)


def judge_members(members: int, group: str, partitions: int) -> Finding:
    """Whether anybody is there to decide."""
    check = "consumer group"
    if members == 0:
        return fail(
            check,
            f"no worker is in the group {group}: no event is decided",
            "Start 'tally aggregator'; if workers run, they have another TALLY_APP_ID, TALLY_TOPIC_PREFIX or"
            " TALLY_KAFKA.",
        )
    if members > partitions:
        return warn(
            check,
            f"{members} workers share {partitions} partitions: {members - partitions} have nothing to do",
            "That does no harm. Stop them, if they are not meant to stand by.",
        )
    return ok(check, f"{members} worker{'s' if members > 1 else ''} in {group} for {partitions} partitions")


def judge_ledgers(partitions: Partitions) -> Iterator[Finding]:
    """Whether each record of each partition has one verdict."""
    check, wrong = "ledger", False
    if partitions.unreadable:
        wrong = True
        said = [f"partition {number}, {why}" for number, why in sorted(partitions.unreadable.items())]
        yield fail(
            check,
            named(said),
            "Keep all topics as they are, stop workers and closer, and run 'tally audit': something else than Tally has"
            " written to aggregator-positions.",
        )
    over = [
        f"partition {number}: {position.ledger.received} received of {position.positions[Topic.USAGE_EVENTS]} offsets"
        for number, position in sorted(partitions.positions.items())
        if position.ledger.received > position.positions[Topic.USAGE_EVENTS]
    ]
    if over:
        wrong = True
        yield fail(check, named(over), "More was counted than there is: stop the closer, and run 'tally audit'.")
    begun_with = {position.partitions for position in partitions.positions.values()} - {partitions.count}
    if begun_with:
        wrong = True
        yield fail(
            check,
            f"counting began with {min(begun_with)} partitions, and there are {partitions.count}",
            "A worker halts (26): docs/operations.md says what to do.",
        )
    if not wrong:
        yield ok(check, f"adds up in all partitions: {_sum(partitions)}")


def _sum(partitions: Partitions) -> str:
    ledgers: list[Ledger] = [position.ledger for position in partitions.positions.values()]

    def total(name: str) -> str:
        return f"{sum(getattr(ledger, name) for ledger in ledgers):,}"

    verdicts = " + ".join(f"{total(name)} {name}" for name in ("accepted", "duplicate", "rejected", "forwarded"))
    return f"{total('received')} received = {verdicts}"
