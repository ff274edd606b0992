"""The catalog as a worker sees it: a copy of the topic `catalog` in RocksDB, and the barrier that makes it current.

| key | value |
|---|---|
| R + catalog key | append time in ms (8 bytes), value of the record |
| O + offset (8 bytes) | catalog key: what changed since an offset, without a scan of the whole |
| P + catalog key | offset (8 bytes) of its record |
| M | next offset to read (8 bytes) |
"""

import asyncio
import json
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from rocksdict import Rdict, ReadOptions, WriteBatch

from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.stores import halting
from aggregator.rules.account import Account
from aggregator.stream.consumer import stop_consumer
from aggregator.stream.reader import REQUEST_TIMEOUT_MS
from schemas.catalog import supersedes
from schemas.invoice import CatalogInvoice
from schemas.plan import Plan
from schemas.service import Service
from schemas.subscription import Subscription
from schemas.topics import Topic

log = logging.getLogger(__name__)

KINDS = ("service", "plan", "subscription", "invoice")

_U64 = struct.Struct(">Q")
_META = b"M"
_CACHED_MAX = 200_000
_RECORDS_MAX = 20_000

Entry = TypeVar("Entry")


@contextmanager
def readable(key: str) -> Iterator[None]:
    """An entry that can't be read stops the process: only the control plane writes the catalog, and it bills by it."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise Halt(HaltReason.CATALOG_UNREADABLE, f"The catalog's entry {key} can't be read ({error})") from error


class CatalogStore:
    """Implements the Catalog that rules read."""

    def __init__(self, database: Rdict) -> None:
        self._database = database
        stored = self._get(_META)
        self.next_offset: int = 0 if stored is None else _U64.unpack(stored)[0]
        self._services: dict[str, Service | None] = {}
        self._plans: dict[str, Plan | None] = {}
        self._accounts: dict[str, Account | None] = {}
        self._invoices: dict[str, CatalogInvoice | None] = {}

    def close(self) -> None:
        """Release the directory."""
        self._database.close()

    def service(self, service_id: str) -> Service | None:
        """The service of an id."""
        try:
            return self._services[service_id]
        except KeyError:
            record = self._record(f"service/{service_id}")
            with readable(f"service/{service_id}"):
                service = record and Service.model_validate(record[1])
            return self._keep(self._services, service_id, service)

    def account(self, subscription_id: str) -> Account | None:
        """The account of a subscription's id."""
        try:
            return self._accounts[subscription_id]
        except KeyError:
            return self._keep(self._accounts, subscription_id, self._read_account(subscription_id))

    def invoice(self, invoice_id: str) -> CatalogInvoice | None:
        """The invoice of an id."""
        try:
            return self._invoices[invoice_id]
        except KeyError:
            record = self._record(f"invoice/{invoice_id}")
            with readable(f"invoice/{invoice_id}"):
                invoice = record and CatalogInvoice.of_record(record[1], record[0])
            return self._keep(self._invoices, invoice_id, invoice)

    def subscriptions_since(self, offset: int) -> Iterator[tuple[int, str]]:
        """The offset and the id of each subscription whose record is at or after an offset of the catalog."""
        options = ReadOptions()
        options.set_iterate_upper_bound(b"P")
        iterator = self._database.iter(options)
        iterator.seek(b"O" + _U64.pack(offset))
        while iterator.valid():
            kind, _, name = iterator.value().decode().partition("/")
            if kind == "subscription":
                yield _U64.unpack_from(iterator.key(), 1)[0], name
            iterator.next()
        with halting:
            iterator.status()

    def apply(self, records: list[Any], next_offset: int) -> None:
        """Take over records of the topic, in its order. One that does not supersede the one held is ignored.

        One that can't be read takes its place too: who needs the entry must not go on with an older one. Any that can
        be read takes its place again.
        """
        batch = WriteBatch(raw_mode=True)
        newest: dict[bytes, Any] = {}
        for record in records:
            if record.value is not None and _names_an_entry(record) and self._is_newer(record, newest):
                newest[record.key] = record
        for key, record in newest.items():
            held_at = self._get(b"P" + key)
            if held_at is not None:
                batch.delete(b"O" + held_at)
            offset = _U64.pack(record.offset)
            batch.put(b"R" + key, _U64.pack(record.timestamp) + record.value)
            batch.put(b"O" + offset, key)
            batch.put(b"P" + key, offset)
        batch.put(_META, _U64.pack(next_offset))
        with halting:
            self._database.write(batch)
        self.next_offset = next_offset
        self._forget(newest)

    def _is_newer(self, record: Any, newest: dict[bytes, Any]) -> bool:
        if record.key in newest:
            held: bytes | None = newest[record.key].value
        else:
            stored = self._get(b"R" + record.key)
            held = None if stored is None else stored[8:]
        if held is None:
            return True
        try:
            return supersedes(json.loads(record.value), json.loads(held))
        except (ValueError, LookupError, TypeError, AttributeError):
            return True

    def _forget(self, keys: dict[bytes, Any]) -> None:
        names: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for key in keys:
            kind, _, name = key.decode().partition("/")
            names[kind].add(name)
        held: tuple[tuple[str, dict[str, Any]], ...] = (
            *(("service", self._services), ("plan", self._plans)),
            *(("subscription", self._accounts), ("invoice", self._invoices)),
        )
        for kind, entries in held:
            for name in names[kind] & entries.keys():
                del entries[name]
        if names["service"] or names["plan"]:  # of which accounts are made; to read very many anew would take seconds
            for subscription_id, account in list(self._accounts.items()):
                if account is None or account.service.id in names["service"] or names["plan"] & account.plans.keys():
                    del self._accounts[subscription_id]

    def _record(self, key: str) -> tuple[int, dict[str, Any]] | None:
        stored = self._get(b"R" + key.encode())
        with readable(key):
            return None if stored is None else (_U64.unpack_from(stored)[0], json.loads(stored[8:]))

    def _get(self, key: bytes) -> Any:
        with halting:
            return self._database.get(key)

    def _read_account(self, subscription_id: str) -> Account | None:
        record = self._record(f"subscription/{subscription_id}")
        if record is None:
            return None
        with readable(f"subscription/{subscription_id}"):
            subscription = Subscription.of_record(record[1], record[0])
        service = self.service(subscription.service_id)
        plans = [self._plan(plan_id) for plan_id in subscription.plan_ids]
        known = [plan for plan in plans if plan is not None]
        if service is None or len(known) < len(plans):
            return None  # the control plane publishes them first; without them the subscription can't be billed
        return Account.of(subscription, service, *known)

    def _plan(self, plan_id: str) -> Plan | None:
        try:
            return self._plans[plan_id]
        except KeyError:
            record = self._record(f"plan/{plan_id}")
            with readable(f"plan/{plan_id}"):
                plan = record and Plan.model_validate(record[1])
            return self._keep(self._plans, plan_id, plan)

    @staticmethod
    def _keep(cache: dict[str, Entry], key: str, entry: Entry) -> Entry:
        if len(cache) > _CACHED_MAX:
            cache.clear()
        cache[key] = entry
        return entry


def _names_an_entry(record: Any) -> bool:
    """Nobody looks for another key, whatever it holds."""
    try:
        kind, _, name = (record.key or b"").decode().partition("/")
    except UnicodeDecodeError:
        kind = name = ""
    if kind in KINDS and name:
        return True
    what = "The record at offset %d of the catalog has the key %r, which names no entry."
    log.warning(what, record.offset, record.key, extra={"topic": Topic.CATALOG.value, "offset": record.offset})
    return False


def _consumer(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=100,
    )


class CatalogFollower:
    """Reads the catalog's topic into the store, for all partitions of the process."""

    def __init__(self, store: CatalogStore, topic: str, bootstrap: str) -> None:
        self.store = store
        self._tp = TopicPartition(topic, 0)
        self._consumer = _consumer(bootstrap)
        # A broker answers the requests of a connection one after the other, and a fetch waits there for records: by the
        # consumer that fetches, the end would be told up to 100 ms later.
        self._asker = _consumer(bootstrap)
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and read all there is."""
        await self._asker.start()
        await self._consumer.start()
        self._consumer.assign([self._tp])
        begin = (await self._consumer.beginning_offsets([self._tp]))[self._tp]
        end = (await self._consumer.end_offsets([self._tp]))[self._tp]
        if begin > self.store.next_offset:
            what = f"The topic {self._tp.topic} begins at {begin}, and only {self.store.next_offset} was read"
            raise Halt(HaltReason.CATALOG_TRUNCATED, what)
        self._check_end(end, self.store.next_offset)
        self._consumer.seek(self._tp, self.store.next_offset)
        await self.barrier()

    async def stop(self) -> None:
        """Disconnect; the store stays open."""
        for task in (self._running, self._waiting):
            if task is not None:
                task.cancel()
        await stop_consumer(self._consumer)
        await stop_consumer(self._asker)

    async def barrier(self) -> None:
        """Apply all that the topic held when this was called. One request is in flight however many wait: a caller
        may share a run that has not begun, never one that has asked for the end already."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._run_after(self._running))
        await asyncio.shield(self._waiting)

    async def _run_after(self, running: asyncio.Task[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._waiting = self._waiting, None
        end = (await self._asker.end_offsets([self._tp]))[self._tp]
        self._check_end(end, await self._consumer.position(self._tp))
        while (position := await self._consumer.position(self._tp)) < end:
            try:
                fetched = await self._consumer.getmany(self._tp, timeout_ms=50, max_records=_RECORDS_MAX)
            except OffsetOutOfRangeError as error:
                what = f"The topic {self._tp.topic} no longer holds the offset {position}"
                raise Halt(HaltReason.CATALOG_TRUNCATED, what) from error
            if records := fetched.get(self._tp):
                self.store.apply(records, records[-1].offset + 1)
            elif (now := await self._consumer.position(self._tp)) > position:
                self.store.apply([], now)

    def _check_end(self, end: int, position: int) -> None:
        if end < position:
            what = f"The topic {self._tp.topic} ends at {end}, and {position} was read"
            raise Halt(HaltReason.SOURCE_REPLACED, what)
