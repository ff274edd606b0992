"""All that a deployment left on Kafka and in Postgres, in memory: a test may change a record of it and audit that."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from aggregator.audit.catalog import write_catalog
from aggregator.audit.copies import (
    BILLED_TABLES,
    COPIED_TABLES,
    EVENT_TABLES,
    Row,
    postgres_snapshot,
    write_billed_copies,
    write_copies,
)
from aggregator.audit.cut import take_cut
from aggregator.audit.evidence import SOURCES, Cut
from aggregator.audit.job import report_of, tasks_of
from aggregator.audit.kafka import NOT_AUDITED
from aggregator.audit.recount import CATALOG_FILE, COPIES_FILE, recount
from aggregator.audit.recounted import SubscriptionRecount
from aggregator.audit.report import Check, Report
from aggregator.audit.subscription import recount_at_home, recount_elsewhere
from aggregator.audit.subscription_job import recount_of
from schemas.settings import Settings
from schemas.topics import Topic, partition_of

SUBSCRIPTION_COLUMN = {"invoices": 4, "invoice_lines": 0, "held_periods": 4, "listed_invoices": 1}
"""Where the rows of a query name the subscription; those of lines name the invoice."""

Place = tuple[Topic, int]
"""A topic's partition."""


@dataclass(frozen=True)
class Held:
    """A record of a topic, as it is kept here."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def document(self) -> Any:
        """Its value as JSON."""
        return json.loads(self.value or b"null")

    @property
    def fields(self) -> dict[str, bytes]:
        """Its headers."""
        return dict(self.headers)


@dataclass
class Captured:
    """Everything there is, in memory: an audit.evidence.Log, and the rows of Postgres by query."""

    records: dict[Place, list[Held]] = field(default_factory=dict)
    uncommitted: dict[Place, list[Held]] = field(default_factory=dict)
    rows_: dict[str, list[Row]] = field(default_factory=dict)
    beginnings: dict[Place, int] = field(default_factory=dict)
    cut: Cut | None = None

    def beginning(self, topic: Topic, partition: int) -> int:
        return self.beginnings.get((topic, partition), 0)

    def read(self, topic: Topic, partition: int, end: int, *, begin: int = 0, committed: bool = True) -> Iterator[Held]:
        kept = self.records if committed or (topic, partition) not in self.uncommitted else self.uncommitted
        first = max(begin, self.beginning(topic, partition))
        yield from (record for record in kept.get((topic, partition), ()) if first <= record.offset < end)

    async def rows(self, query: str, *arguments: str | None) -> AsyncIterator[Row]:
        subscription_id = arguments[0] if arguments else None
        invoices = {row[0] for row in self.rows_["invoices"] if row[4] == subscription_id}
        for row in self.rows_[query]:
            of = invoices if query == "invoice_lines" else {subscription_id}
            if subscription_id is None or row[SUBSCRIPTION_COLUMN[query]] in of:
                yield row

    def copy(self) -> "Captured":
        """Another, to change."""
        return Captured(
            {place: list(records) for place, records in self.records.items()},
            self.uncommitted,
            deepcopy(self.rows_),
            dict(self.beginnings),
            deepcopy(self.cut),
        )

    def audit(self) -> Report:
        """What the audit says of it."""
        assert self.cut is not None
        with tempfile.TemporaryDirectory(prefix="tally-test-") as directory:
            scratch = Path(directory)
            asyncio.run(write_copies(str(scratch / COPIES_FILE), self, len(self.cut.partitions)))
            write_catalog(str(scratch / CATALOG_FILE), self.read(Topic.CATALOG, 0, self.cut.catalog_end))
            tasks = tasks_of(self.cut, "", scratch)
            return report_of(self.cut, tasks, [recount(task, self) for task in tasks], 0)

    def recount(self, subscription_id: str, at: int | None = None) -> SubscriptionRecount:
        """What a recount of one subscription says."""
        assert self.cut is not None
        with tempfile.TemporaryDirectory(prefix="tally-test-") as directory:
            scratch = Path(directory)
            asyncio.run(write_billed_copies(str(scratch / COPIES_FILE), self, subscription_id))
            write_catalog(str(scratch / CATALOG_FILE), self.read(Topic.CATALOG, 0, self.cut.catalog_end))
            tasks = tasks_of(self.cut, "", scratch)
            home = partition_of(subscription_id, len(tasks))
            invoices = [row for row in self.rows_["listed_invoices"] if row[1] == subscription_id]
            results = [
                recount_at_home(task, self, subscription_id, invoices, at)
                if task.partition == home
                else recount_elsewhere(task, self, subscription_id)
                for task in tasks
            ]
            return recount_of(subscription_id, self.cut, tasks, results)

    def find(self, topic: Topic, **fields: Any) -> tuple[Place, int]:
        """Partition and index of the first record whose document has these fields."""
        for place, records in self.records.items():
            for index, record in enumerate(records if place[0] is topic else ()):
                document = record.document
                if isinstance(document, dict) and fields.items() <= document.items():
                    return place, index
        raise LookupError(fields)

    def change(self, place: Place, index: int, **fields: Any) -> None:
        """Change fields in the value of a record."""
        record = self.records[place][index]
        value = json.dumps({**record.document, **fields}, ensure_ascii=False, separators=(",", ":")).encode()
        self.records[place][index] = replace(record, value=value)

    def replace(self, place: Place, index: int, **parts: Any) -> None:
        """Change parts of a record."""
        self.records[place][index] = replace(self.records[place][index], **parts)


Change = Callable[[Captured], dict[str, Any]]
"""Changes one thing, and returns where the audit must find it: fields of a disagreement."""


async def capture(settings: Settings, database_url: str) -> Captured:
    """Read everything."""
    captured = Captured()
    async with postgres_snapshot(database_url) as snapshot:
        for query in (*BILLED_TABLES, "listed_invoices"):
            captured.rows_[query] = [row async for row in snapshot.rows(query, None)]
        for query in (*COPIED_TABLES, *EVENT_TABLES, "stream_offsets"):
            captured.rows_[query] = [row async for row in snapshot.rows(query)]
    offsets = {
        (row[0], row[1].removeprefix(settings.topic_prefix), row[2]): row[3] for row in captured.rows_["stream_offsets"]
    }
    captured.cut = await take_cut(settings, settings.partitions, offsets)
    topics = [topic for topic in Topic if topic not in NOT_AUDITED]
    captured.records = await all_records(settings, *topics)
    captured.uncommitted = await all_records(settings, *SOURCES, isolation="read_uncommitted")
    return captured


async def all_records(settings: Settings, *topics: Topic, isolation: str = "read_committed") -> dict[Place, list[Held]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level=isolation, enable_auto_commit=False, fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        places = {
            TopicPartition(settings.topic(topic), partition): (topic, partition)
            for topic in topics
            for partition in range(1 if topic is Topic.CATALOG else settings.partitions)
        }
        consumer.assign(list(places))
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(list(places))
        found: dict[Place, list[Held]] = {place: [] for place in places.values()}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=20)).items():
                found[places[place]] += [
                    Held(r.offset, r.timestamp, r.key, r.value, tuple(map(tuple, r.headers))) for r in records
                ]
        return found
    finally:
        await consumer.stop()


def latest(world: Captured, topic: Topic, *key: Any) -> tuple[Place, int]:
    """The last record of a key."""
    found = [
        (place, index)
        for place, records in world.records.items()
        for index, record in enumerate(records if place[0] is topic else ())
        if json.loads(record.key or b"null") == list(key)
    ]
    return found[-1]


def assert_found(world: Captured, where: dict[str, Any], check: Check) -> None:
    """The audit is red, and one disagreement of this check is at this place."""
    report = world.audit()
    assert not report.agrees
    found = [disagreement for disagreement in report.findings.kept if disagreement.check is check]
    assert any(all(getattr(one, name) == value for name, value in where.items()) for one in found), (where, found)
