"""The one place where the work of a partition becomes true."""

import time
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaProducer

from aggregator.engine import metrics
from aggregator.engine.closing import TOTALS_AT_A_TIME, Agenda, Closed, Round
from aggregator.engine.draft import Draft, put_total
from aggregator.engine.feed import Feed
from aggregator.engine.pace import Pace
from aggregator.engine.tables import Changes, Meta, Tables
from aggregator.engine.transaction import Transaction
from schemas.position import LastRecord, Position
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, total_key

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


class Commits:
    """Writes what was decided: first to the log, then to the tables."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        names: dict[Topic, str],
        partition: int,
        tables: Tables,
        agenda: Agenda,
        replies: Feed,
        rates: Feed,
        timeout_seconds: float,
    ) -> None:
        self._producer = producer
        self._names = names
        self._partition = partition
        self._tables = tables
        self._agenda = agenda
        self._replies = replies
        self._rates = rates
        self._timeout_seconds = timeout_seconds
        self.broker_time = BrokerTime()

    def draft(self, source: Topic) -> Draft:
        """An empty draft of a batch of a source."""
        return Draft(source, self._partition, self._transaction(), self._agenda)

    async def batch(self, draft: Draft, position: Position, next_offset: int, last: LastRecord) -> None:
        """Write a batch, up to an offset of its source and with its last record; then tell those who wait for it."""
        source = draft.source
        after = replace(
            position,
            positions={**position.positions, source.value: next_offset},
            ledger=position.ledger.plus(source, draft.counts),
            last={**position.last, source.value: last},
        )
        await self._commit(draft.transaction, draft.changes, position, after)
        self._replies.post(draft.replies)
        self._rates.post(draft.rates)

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
            put_total(totals, changes, key, total.to_json())
            changes.charged.append((subscription_id, period.start, meter))
            if count % TOTALS_AT_A_TIME == 0:
                await pace.rest()
        key = total_key(subscription_id, period.start_text, PERIOD_METER)
        put_total(totals, changes, key, closing.state.to_json())
        changes.periods[subscription_id, period.start] = closing.state
        await pace.rest()

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
