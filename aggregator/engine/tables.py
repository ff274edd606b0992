"""The tables of one partition in RocksDB: a cache of its changelogs, never ahead of them.

| key | value |
|---|---|
| K + unique key | packed Place of the event that took it |
| T + total key | as on `usage-totals` |
| D + due time (8 bytes) + [subscription, period start] | empty: when to look at a period; a lower bound |
| M | the position, the changelog offsets and the catalog offset, as JSON |
| W | empty: the changelogs were once read to their ends, and account for all that the ledger has accepted |

One WriteBatch changes them together with M, so that state and position are one value whatever dies in between.
"""

import itertools
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

from rocksdict import Rdict, ReadOptions, WriteBatch

from aggregator.engine.stores import halting
from aggregator.rules.verdicts import PeriodKey, TotalKey
from schemas.billing_period import BillingPeriod
from schemas.plain import compiled
from schemas.position import Position
from schemas.timestamps import timestamp_of_own, timestamp_text
from schemas.totals import PERIOD_METER, MeterTotal, PeriodState, is_of_a_period, period_prefix, total_key

_U64 = struct.Struct(">Q")
_META = b"M"
_WHOLE = b"W"
_CACHED_MAX = 500_000
_COUNTED_AT_A_TIME = 5_000
_FOOTPRINT = tuple(
    f"rocksdb.{name}"
    for name in (
        *("estimate-num-keys", "cur-size-all-mem-tables", "estimate-table-readers-mem"),
        *("block-cache-usage", "total-sst-files-size"),
    )
)
"""The properties that a Footprint holds, in its order."""


@dataclass(slots=True, frozen=True)
class Meta:
    """Where the tables stand: the aggregator's position, and what is applied of each changelog and of the catalog."""

    position: Position | None = None
    changelog_offsets: dict[str, int] = field(default_factory=dict)
    catalog_offset: int = 0

    def to_json(self) -> bytes:
        """The value of M."""
        position = None if self.position is None else self.position.to_json().decode()
        return json.dumps(
            {
                "position": position,
                "changelogs": self.changelog_offsets,
                "catalog": self.catalog_offset,
            }
        ).encode()

    @classmethod
    def of_json(cls, value: bytes) -> Self:
        """The inverse of to_json()."""
        document = json.loads(value)
        position = document["position"]
        return cls(
            None if position is None else Position.of_json(position.encode()),
            document["changelogs"],
            document["catalog"],
        )


@dataclass(slots=True, frozen=True)
class Footprint:
    """What tables take, as RocksDB counts it: entries (estimated), bytes of memory and of disk. The cache is that of
    all tables of the process."""

    keys: int
    memtable_bytes: int
    table_reader_bytes: int
    cache_bytes: int
    disk_bytes: int


@dataclass(slots=True, frozen=True)
class Due:
    """An entry of the agenda: a period to look at, not before `at` (ms)."""

    at: int
    subscription_id: str
    period_start: int

    def key(self) -> bytes:
        """The key that orders entries by time."""
        start = timestamp_text(self.period_start)
        return b"D" + _U64.pack(self.at) + json.dumps([self.subscription_id, start], ensure_ascii=False).encode()

    @classmethod
    def of_key(cls, key: bytes) -> "Due":
        """The inverse of key()."""
        subscription_id, start = json.loads(key[9:])
        return cls(_U64.unpack_from(key, 1)[0], subscription_id, timestamp_of_own(start))


class Tables:
    """Implements the Tables that rules read, over RocksDB; totals and periods in use are kept decoded."""

    def __init__(self, database: Rdict) -> None:
        self._database = database
        self._totals: dict[TotalKey, MeterTotal] = {}
        self._periods: dict[PeriodKey, PeriodState] = {}
        self._agenda_from = b"D"
        """No entry of the agenda has a lesser key. RocksDB steps over each one that was dropped until it compacts, so a
        search from the very beginning would take longer with each period that closes."""
        stored = self._get(_META)
        self.meta = Meta() if stored is None else Meta.of_json(stored)

    def close(self) -> None:
        """Release the directory."""
        self._database.close()

    def places(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """One multi-get for all keys of a batch."""
        return cast(Sequence[bytes | None], self._get(_prefixed(list(keys)))) if keys else ()

    def period(self, subscription_id: str, period: BillingPeriod) -> PeriodState | None:
        """A copy of the period's state."""
        state = self._periods.get((subscription_id, period.start))
        if state is not None:
            return state.copy()
        stored = self._get(b"T" + total_key(subscription_id, period.start_text, PERIOD_METER))
        return None if stored is None else PeriodState.of_json(stored)

    def total(self, subscription_id: str, period: BillingPeriod, meter: str) -> MeterTotal | None:
        """A copy of the meter's total."""
        total = self._totals.get((subscription_id, period.start, meter))
        if total is not None:
            return total.copy()
        stored = self._get(b"T" + total_key(subscription_id, period.start_text, meter))
        return None if stored is None else MeterTotal.of_json(stored)

    def totals_of(self, subscription_id: str, period: BillingPeriod) -> Iterator[tuple[str, MeterTotal]]:
        """Every meter of a period with its total."""
        for key, value in self._scan(b"T" + period_prefix(subscription_id, period.start_text)):
            if not is_of_a_period(key):
                yield json.loads(key[1:])[2], MeterTotal.of_json(value)

    @property
    def is_whole(self) -> bool:
        """Whether these tables were found to be whole when they were first restored."""
        return self._get(_WHOLE) is not None

    def mark_whole(self) -> None:
        """They are whole, and stay so with each write."""
        with halting:
            self._database.put(_WHOLE, b"")

    def counted_keys(self) -> Iterator[int]:
        """How many unique keys are taken: of some at a time, for it scans them all."""
        options = _before(b"L")  # which must live as long as the iterator: it looks at the bound in there
        with halting:
            keys = self._database.keys(from_key=b"K", read_opt=options)
        while count := len(list(itertools.islice(keys, _COUNTED_AT_A_TIME))):
            yield count

    def counted_events(self) -> Iterator[int]:
        """How many events are in the totals of meters: of some totals at a time, for it scans them all."""
        events = (json.loads(value)["eventCount"] for key, value in self._scan(b"T") if not is_of_a_period(key))
        while some := list(itertools.islice(events, _COUNTED_AT_A_TIME)):
            yield sum(some)

    def due_until(self, at: int) -> Iterator[Due]:
        """The entries of the agenda up to a time in ms, the earliest first."""
        for key, _ in self._agenda():
            due = Due.of_key(key)
            if due.at > at:
                return
            yield due

    def next_due_at(self) -> int | None:
        """The time of the agenda's first entry in ms."""
        return next((Due.of_key(key).at for key, _ in self._agenda()), None)

    def footprint(self) -> Footprint:
        """What they take now. It costs some 50 us."""
        with halting:
            return Footprint(*(self._database.property_int_value(name) or 0 for name in _FOOTPRINT))

    def write(self, changes: "Changes", meta: Meta) -> None:
        """Apply changes and position in one atomic write."""
        changes.batch.put(_META, meta.to_json())
        with halting:
            self._database.write(changes.batch)
        self.meta = meta
        self._agenda_from = min(self._agenda_from, changes.agenda_from)
        for key in changes.charged:
            self._totals.pop(key, None)
        if len(self._totals) + len(self._periods) > _CACHED_MAX:
            self._totals.clear()
            self._periods.clear()
        self._totals.update(changes.totals)
        self._periods.update(changes.periods)

    def _get(self, key: Any) -> Any:
        with halting:
            return self._database.get(key)

    def _agenda(self) -> Iterator[tuple[bytes, bytes]]:
        is_first = True
        for key, value in self._scan(b"D", self._agenda_from):
            if is_first:
                self._agenda_from = key
                is_first = False
            yield key, value

    def _scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        options = _before(prefix[:-1] + bytes([prefix[-1] + 1]))  # which must live as long as the iterator
        iterator = self._database.iter(options)
        iterator.seek(max(prefix, start))
        while iterator.valid():
            yield iterator.key(), iterator.value()
            iterator.next()
        with halting:
            iterator.status()  # an iterator that fails says so here, and otherwise looks as if it had reached the end


def _before(key: bytes) -> ReadOptions:
    """To read no key from this one on. RocksDB keeps a pointer to the bound: an iterator whose options are gone reads
    on beyond it."""
    options = ReadOptions()
    options.set_iterate_upper_bound(key)
    return options


def _prefixed(keys: list[bytes]) -> list[bytes]:
    return [b"K" + key for key in keys] if compiled is None else compiled.prefixed(b"K", keys)


class Changes:
    """One WriteBatch in the making, and the decoded objects that replace the tables' own once it is written."""

    def __init__(self) -> None:
        self.batch: Any = WriteBatch(raw_mode=True)
        self.totals: dict[TotalKey, MeterTotal] = {}
        self.periods: dict[PeriodKey, PeriodState] = {}
        self.charged: list[TotalKey] = []
        """Totals that closing has changed: there is little use in keeping them decoded."""
        self.agenda_from = b"E"  # beyond the agenda

    def put_place(self, key: bytes, place: bytes) -> None:
        """A unique key is taken."""
        self.batch.put(b"K" + key, place)

    def put_places(self, taken: dict[bytes, bytes]) -> None:
        """Unique keys are taken. In their order, which RocksDB takes in half of the time."""
        if compiled is not None:
            compiled.put_places(self.batch.put, b"K", taken)
        else:
            for key in sorted(taken):
                self.put_place(key, taken[key])

    def put_places_of(self, records: list[Any], header: str) -> None:
        """The keys of records are taken, by the Places in a header of theirs."""
        if compiled is None or not compiled.put_fetched(self.batch.put, b"K", records, header):
            self.put_places({record.key: dict(record.headers)[header] for record in records})

    def put_total(self, key: bytes, value: bytes) -> None:
        """A record of `usage-totals`."""
        self.batch.put(b"T" + key, value)

    def put_due(self, due: Due) -> None:
        """A period is on the agenda."""
        key = due.key()
        self.batch.put(key, b"")
        self.agenda_from = min(self.agenda_from, key)

    def drop_due(self, due: Due) -> None:
        """A period is off the agenda."""
        self.batch.delete(due.key())
