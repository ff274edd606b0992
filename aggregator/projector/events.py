"""Single events, those that count and those that don't: a row for each."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from aggregator.projector.batches import Batch, Row, Table, after, portions
from aggregator.settings import ProjectorSettings
from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import UNREADABLE, Reader, Records
from schemas.recorded_event import RecordedUsageEvent, recorded_usage_event
from schemas.rejected_event import RejectedUsageEvent
from schemas.timestamps import aware_datetime
from schemas.topics import MIB, Topic

log = logging.getLogger(__name__)

TOPICS: Final = (Topic.ACCEPTED_USAGE, Topic.REJECTED_USAGE)
READ_TIMEOUT_MS: Final = 500

PORTION_BYTES_MAX: Final = 16 * MIB
"""Of a transaction. 5,000 accepted events are about 3 MiB, so only large rejected ones come to this."""


class Events:
    """Makes rows of `accepted-usage` and `rejected-usage`."""

    read_timeout_ms: Final = READ_TIMEOUT_MS

    def __init__(self, settings: ProjectorSettings) -> None:
        self._accepted = settings.topic(Topic.ACCEPTED_USAGE)
        self._rejected = settings.topic(Topic.REJECTED_USAGE)

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Nothing is kept from one session to the next."""

    def starts(self, offsets: Offsets, beginnings: Offsets) -> Offsets:
        """What was rejected is deleted in the end, whether or not it was copied before."""
        starts = dict(offsets)
        for partition, beginning in beginnings.items():
            if partition.topic == self._rejected and offsets[partition] < beginning:
                log.warning(
                    "%d offsets of partition %d of %s were deleted before they were copied to Postgres: the projector"
                    " was not running, or TALLY_PROJECT_EVENTS was off, for longer than the topic keeps them.",
                    *(beginning - offsets[partition], partition.partition, partition.topic),
                    extra={
                        "topic": partition.topic,
                        "partition": partition.partition,
                        "offset": offsets[partition],
                        "records": beginning - offsets[partition],
                    },
                )
                starts[partition] = beginning
        return starts

    async def batches(self, records: Records) -> AsyncIterator[Batch]:
        """All of the records, some at a time."""
        for portion in portions(records, PORTION_BYTES_MAX):
            yield self._batch(portion)

    def _batch(self, records: Records) -> Batch:
        batch = Batch(after(records))
        accepted: dict[str, Row] = {}
        rejected: dict[str, Row] = {}
        for partition, some in records.items():
            is_accepted = partition.topic == self._accepted
            for record in some:
                try:
                    if is_accepted:
                        _add_accepted(accepted, recorded_usage_event(record.value or b""))
                    else:
                        _add_rejected(rejected, record)
                except UNREADABLE:
                    batch.unreadable[Topic.ACCEPTED_USAGE if is_accepted else Topic.REJECTED_USAGE] += 1
        batch.rows = {Table.USAGE_EVENTS: list(accepted.values()), Table.REJECTED_USAGE_EVENTS: list(rejected.values())}
        return batch


@asynccontextmanager
async def open_events(settings: ProjectorSettings, reader: Reader) -> AsyncIterator[Events]:
    """What makes rows of the records of a reader."""
    del reader
    yield Events(settings)


def _add_accepted(rows: dict[str, Row], event: RecordedUsageEvent) -> None:
    """The last record of an event counts. Its void may not know any more which sequence charged it: then the record
    before does."""
    before = rows.get(event.id)
    sequence = before[-1] if event.sequence is None and before is not None else event.sequence
    rows[event.id] = (
        event.id,
        event.service_id,
        event.subscription_id,
        event.user_id,
        event.event_key,
        event.event_id,
        event.meter,
        event.quantity,
        event.occurred_at,
        event.sent_occurred_at,
        event.invoice_id,
        event.billing_period.start,
        event.billing_period.end,
        event.status,
        event.created_at,
        event.updated_at,
        sequence,
    )


def _add_rejected(rows: dict[str, Row], record: Any) -> None:
    event = RejectedUsageEvent.of_record(record)
    rows[event.id] = (
        event.id,
        event.code,
        event.error,
        event.field,
        event.service_id,
        event.subscription_id,
        aware_datetime(event.received_at),
        event.origin_topic.value,
        event.origin_partition,
        event.origin_offset,
        event.key,
        event.value,
    )
