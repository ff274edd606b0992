"""The one place where the work of a partition becomes true."""

import time
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaProducer

from aggregator.engine import metrics
from aggregator.engine.closing import TOTALS_AT_A_TIME, Agenda, Closed, Round
from aggregator.engine.pace import Pace
from aggregator.engine.replies import Replies, Reply
from aggregator.engine.tables import Changes, Meta, Tables
from aggregator.engine.transaction import Records, Transaction
from aggregator.rules.arriving import Arrival
from aggregator.rules.rating import rates_of
from aggregator.rules.verdicts import Decisions
from schemas.forwarding import Headers, Origin
from schemas.position import LastRecord, Position
from schemas.rejection import Rejection
from schemas.reply import accepted_reply, rejected_reply, repeated_reply, reply_address
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, total_key

PLACE_HEADER = "place"
SECOND_MS = 1_000

CHANGELOGS = (Topic.ACCEPTED_USAGE, Topic.USAGE_TOTALS, Topic.AGGREGATOR_POSITIONS)


@dataclass(slots=True)
class BrokerTime:
    """The latest append time (ms) that the broker acknowledged for a position record, and when we heard of it.

    The moment we heard only serves to guess when asking again may be worth it; it decides nothing.
    """

    at: int = 0
    heard_at: float = 0.0

    def may_have_reached(self, at: int, now: float) -> bool:
        """Whether to ask if the broker's clock has reached a time in ms: always, until it was asked once."""
        return self.at == 0 or at <= self.at + int((now - self.heard_at) * SECOND_MS)


@dataclass(slots=True, frozen=True)
class Batch:
    """A batch of a source up to `next_offset`, its last record, and what was decided of it."""

    source: Topic
    next_offset: int
    last: LastRecord
    decisions: Decisions


@dataclass(slots=True, frozen=True)
class Prepared:
    """A batch that only needs to be written: its records, its changes of the tables, the positions around it, and who
    waits for a verdict."""

    transaction: Transaction
    changes: Changes
    before: Position
    after: Position
    replies: list[Reply]


class Commits:
    """Writes what was decided: first to the log, then to the tables."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        names: dict[Topic, str],
        partition: int,
        tables: Tables,
        agenda: Agenda,
        replies: Replies,
        timeout_seconds: float,
    ) -> None:
        self._producer = producer
        self._names = names
        self._partition = partition
        self._tables = tables
        self._agenda = agenda
        self._replies = replies
        self._timeout_seconds = timeout_seconds
        self.broker_time = BrokerTime()

    def prepare(self, position: Position, batch: Batch) -> Prepared:
        """All that a batch of a source changes, by what was decided of it; nothing is written yet."""
        transaction, changes, decisions = self._transaction(), Changes(), batch.decisions
        replies: list[Reply] = []
        if decisions.accepted:
            append = transaction.records(Topic.ACCEPTED_USAGE).append
            for accepted in decisions.accepted:
                value = accepted.event.to_json()
                append(accepted.key, value, [(PLACE_HEADER, accepted.place)])
                headers = accepted.record.headers
                if headers and (address := reply_address(headers)) is not None:
                    replies.append((address, accepted_reply(value)))
            changes.put_places(decisions.accepted)
            self._put_totals(transaction, changes, decisions)
            if batch.source is not Topic.USAGE_CORRECTIONS:  # what is taken back is no usage of now
                for rate in rates_of(decisions):
                    transaction.records(Topic.USAGE_RATES).append(rate.key, rate.to_json(), [])
        for record, rejection in decisions.rejected:
            raw: Any = record
            headers = _rejection_headers(batch.source, raw, rejection, self._partition)
            transaction.records(Topic.REJECTED_USAGE).append(raw.key, raw.value, headers)
            if (address := reply_address(record.headers)) is not None:
                replies.append((address, rejected_reply(rejection)))
        for record in decisions.repeated:
            if (address := reply_address(record.headers)) is not None:
                replies.append((address, repeated_reply()))
        for record, home in decisions.forwarded:
            raw = record
            origin = Origin(self._partition, record.offset, record.timestamp)
            transaction.records(Topic.USAGE_FORWARDED, home).append(
                raw.key, raw.value, [*raw.headers, *origin.headers()]
            )
        for key_, account in decisions.waiting.items():
            if (due := self._agenda.entry(account, *decisions.periods[key_])) is not None:
                changes.put_due(due)
        after = replace(
            position,
            positions={**position.positions, batch.source.value: batch.next_offset},
            ledger=position.ledger.plus(batch.source, decisions.counts()),
            last={**position.last, batch.source.value: batch.last},
        )
        return Prepared(transaction, changes, position, after, replies)

    async def batch(self, prepared: Prepared) -> None:
        """Write a prepared batch, and then tell its verdicts."""
        await self._commit(prepared.transaction, prepared.changes, prepared.before, prepared.after)
        self._replies.post(prepared.replies)

    async def closings(self, position: Position, round_: Round) -> None:
        """The periods of a round: their records for the closer, their states, and the agenda after them."""
        transaction, changes = self._transaction(), Changes()
        for closed in round_.closed:
            await self._put_closed(transaction, changes, closed, round_.pace)
        for due in round_.settled:
            changes.drop_due(due)
        for due in round_.put:
            changes.put_due(due)
        if round_.closed:
            await self._commit(transaction, changes, position, position)
        else:
            self._tables.write(changes, self._tables.meta)

    async def heartbeat(self, position: Position) -> None:
        """Only the position again, to learn the broker's time."""
        await self._commit(self._transaction(), Changes(), position, position)

    @staticmethod
    async def _put_closed(transaction: Transaction, changes: Changes, closed: Closed, pace: Pace) -> None:
        (account, period, closing), totals = closed, transaction.records(Topic.USAGE_TOTALS)
        subscription_id = account.subscription.id
        for key, value in closing.closed.records() if closing.closed is not None else ():
            transaction.records(Topic.CLOSED_PERIODS).append(key, value, [])
            await pace.rest()
        for count, (meter, total) in enumerate(closing.totals.items(), start=1):
            key = total_key(subscription_id, period.start_text, meter)
            _put_total(totals, changes, key, total.to_json())
            changes.charged.append((subscription_id, period.start, meter))
            if count % TOTALS_AT_A_TIME == 0:
                await pace.rest()
        key = total_key(subscription_id, period.start_text, PERIOD_METER)
        _put_total(totals, changes, key, closing.state.to_json())
        changes.periods[subscription_id, period.start] = closing.state
        await pace.rest()

    @staticmethod
    def _put_totals(transaction: Transaction, changes: Changes, decisions: Decisions) -> None:
        totals = transaction.records(Topic.USAGE_TOTALS)
        for (subscription_id, start, meter), total in decisions.totals.items():
            start_text = decisions.periods[subscription_id, start][0].start_text
            _put_total(totals, changes, total_key(subscription_id, start_text, meter), total.to_json())
        for (subscription_id, start), (period, state) in decisions.periods.items():
            key = total_key(subscription_id, period.start_text, PERIOD_METER)
            _put_total(totals, changes, key, state.to_json())
            changes.periods[subscription_id, start] = state
        changes.totals = decisions.totals

    def _transaction(self) -> Transaction:
        return Transaction(self._producer, self._names, self._partition)

    async def _commit(self, transaction: Transaction, changes: Changes, before: Position, after: Position) -> None:
        """In this order, and in no other:

        1. the transaction commits: verdicts, sums, position and ledger, all or nothing. Killed before the broker has
           the commit, the next owner aborts it and reads the batch again;
        2. RocksDB takes the same changes, with the position, in one atomic write. Killed before or inside it, the
           restore reads the changes from the changelogs and finds the batch done in the position record.
        """
        position = replace(after, prev=before.positions)
        begun = time.monotonic()
        committed = await transaction.commit(str(self._partition).encode(), position.to_json(), self._timeout_seconds)
        now = time.monotonic()
        meta = self._tables.meta
        offsets = {t.value: o for t, o in committed.next_offsets.items() if t in CHANGELOGS}
        self._tables.write(changes, Meta(position, {**meta.changelog_offsets, **offsets}, meta.catalog_offset))
        self.broker_time = BrokerTime(committed.appended_at, now)
        metrics.TRANSACTION_SECONDS.observe(now - begun)
        metrics.TRANSACTION_BYTES.observe(committed.size_bytes)


def _put_total(totals: Records, changes: Changes, key: bytes, value: bytes) -> None:
    totals.append(key, value, [])
    changes.put_total(key, value)


def _rejection_headers(source: Topic, record: Any, rejection: Rejection, partition: int) -> Headers:
    """The record's own headers as received, and why and where it was refused: a forwarded event where it first arrived,
    under which place its sender knows it."""
    if isinstance(record, Arrival):
        source, partition = Topic.USAGE_EVENTS, record.partition
    return [
        *record.headers,
        ("reject-code", rejection.reason.value.encode()),
        ("reject-field", (rejection.field or "").encode()),
        ("reject-error", rejection.error.encode()),
        ("origin-topic", source.value.encode()),
        *Origin(partition, record.offset, record.timestamp).headers(),
    ]
