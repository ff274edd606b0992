"""From records of `usage-totals` and `aggregator-positions` to rows: of each key, the last record counts."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aggregator.stream.reader import UNREADABLE
from schemas.decimals import decimal_text
from schemas.position import Position
from schemas.timestamps import aware_datetime, timestamp_of_own
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, MeterTotal

TotalKey = tuple[str, int, str]
"""Subscription, start of the period in ms, meter."""

Row = tuple[Any, ...]


@dataclass(slots=True)
class Rows:
    """The newest row of each key of a batch, and how many records could not be read, by topic."""

    totals: dict[TotalKey, Row] = field(default_factory=dict)
    ledgers: dict[int, Row] = field(default_factory=dict)
    unreadable: dict[Topic, int] = field(default_factory=dict)

    def add(self, topic: Topic, key: bytes | None, value: bytes | None, appended_at: int) -> None:
        """Take in the next record of a partition; `appended_at` is its append time in ms."""
        try:
            if topic is Topic.USAGE_TOTALS:
                self._add_total(key or b"", value or b"", aware_datetime(appended_at))
            else:
                self._add_ledger(key or b"", value or b"", aware_datetime(appended_at))
        except UNREADABLE:
            self.unreadable[topic] = self.unreadable.get(topic, 0) + 1

    def _add_total(self, key: bytes, value: bytes, updated_at: datetime) -> None:
        subscription_id, start_text, meter = json.loads(key)
        if meter == PERIOD_METER:
            return  # the period's own state
        start = timestamp_of_own(start_text)
        total = MeterTotal.of_json(value)
        self.totals[subscription_id, start, meter] = (
            subscription_id,
            aware_datetime(start),
            None if total.period_end is None else aware_datetime(total.period_end),
            meter,
            decimal_text(total.quantity),
            total.event_count,
            updated_at,
        )

    def _add_ledger(self, key: bytes, value: bytes, updated_at: datetime) -> None:
        partition, position = int(key), Position.of_json(value)
        ledger = position.ledger
        self.ledgers[partition] = (
            partition,
            position.positions[Topic.USAGE_EVENTS],
            ledger.received,
            ledger.accepted,
            ledger.duplicate,
            ledger.rejected,
            ledger.forwarded,
            updated_at,
        )
