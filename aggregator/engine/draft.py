"""What one batch of a source writes, put together a slice at a time."""

from collections import Counter
from typing import Any

from aggregator.engine.closing import Agenda
from aggregator.engine.feed import Told
from aggregator.engine.tables import Changes
from aggregator.engine.transaction import Records, Transaction
from aggregator.rules.arriving import Arrival
from aggregator.rules.rating import rates_of
from aggregator.rules.verdicts import Accepted, Decisions
from schemas.forwarding import Headers, Origin
from schemas.plain import compiled
from schemas.position import Counts
from schemas.rejection import Reason, Rejection
from schemas.reply import accepted_reply, rejected_reply, repeated_reply, reply_address
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, total_key

SLICE_RECORDS = 1_000
"""Decided and written down at a time: what is made of so many events fits into a processor's cache, and the loop turns
to everything else in between."""


class Draft:
    """The records and changes of a batch of one source, of which nothing is written yet."""

    def __init__(self, source: Topic, partition: int, transaction: Transaction, agenda: Agenda) -> None:
        self.source = source
        self.transaction = transaction
        self.changes = Changes()
        self.replies: list[Told] = []
        self.rates: list[Told] = []
        self.counts = Counts(0, 0, 0)
        self.reasons: Counter[Reason] = Counter()
        """Of the rejections, duplicates included."""
        self._partition = partition
        self._agenda = agenda

    def take(self, decisions: Decisions) -> None:
        """Write down the verdicts of a slice, and take them out of the decisions, whose totals go on."""
        self.counts = Counts(*map(sum, zip(self.counts, decisions.counts(), strict=True)))
        self._take_accepted(decisions)
        for record, rejection in decisions.rejected:
            raw: Any = record
            headers = _rejection_headers(self.source, raw, rejection, self._partition)
            self.transaction.records(Topic.REJECTED_USAGE).append(raw.key, raw.value, headers)
            self.reasons[rejection.reason] += 1
            if (address := reply_address(record.headers)) is not None:
                self.replies.append((address, rejected_reply(rejection)))
        for record in decisions.repeated:
            if (address := reply_address(record.headers)) is not None:
                self.replies.append((address, repeated_reply()))
        for record, home in decisions.forwarded:
            raw = record
            origin = Origin(self._partition, record.offset, record.timestamp)
            self.transaction.records(Topic.USAGE_FORWARDED, home).append(
                raw.key, raw.value, [*raw.headers, *origin.headers()]
            )
        decisions.forget_verdicts()

    def finish(self, decisions: Decisions) -> None:
        """Write down keys and totals after the last slice, and what is to be closed because of them."""
        self.changes.put_places(decisions.taken)
        if decisions.totals:
            self._put_totals(decisions)
        if self.source is not Topic.USAGE_CORRECTIONS:  # what is taken back is no usage of now
            self.rates = [((self._partition, rate.key), rate.to_json()) for rate in rates_of(decisions)]
        for key_, account in decisions.waiting.items():
            if (due := self._agenda.entry(account, *decisions.periods[key_])) is not None:
                self.changes.put_due(due)

    def _take_accepted(self, decisions: Decisions) -> None:
        if not decisions.accepted:
            return
        self.transaction.records(Topic.ACCEPTED_USAGE).add_accepted(decisions.accepted)
        for accepted in _with_headers(decisions.accepted):
            if (address := reply_address(accepted.record.headers)) is not None:
                self.replies.append((address, accepted_reply(accepted.value)))

    def _put_totals(self, decisions: Decisions) -> None:
        totals, changes = self.transaction.records(Topic.USAGE_TOTALS), self.changes
        for (subscription_id, start, meter), total in decisions.totals.items():
            start_text = decisions.periods[subscription_id, start][0].start_text
            put_total(totals, changes, total_key(subscription_id, start_text, meter), total.to_json())
        for (subscription_id, start), (period, state) in decisions.periods.items():
            put_total(totals, changes, total_key(subscription_id, period.start_text, PERIOD_METER), state.to_json())
            changes.periods[subscription_id, start] = state
        changes.totals = decisions.totals


def _with_headers(accepted: list[Accepted]) -> list[Accepted]:
    """Those whose sender may wait for a reply."""
    return (
        [event for event in accepted if event.record.headers] if compiled is None else compiled.with_headers(accepted)
    )


def put_total(totals: Records, changes: Changes, key: bytes, value: bytes) -> None:
    """A record of `usage-totals`, on the topic and in the tables."""
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
