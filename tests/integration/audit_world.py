"""A small deployment with a bit of everything in it, made by a real worker, closer and projector."""

import asyncio
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition

from aggregator.closer.job import Closer
from aggregator.projector.job import TOPICS as PROJECTED
from aggregator.projector.job import Projector
from aggregator.settings import CloserSettings, ProjectorSettings
from deploy.migrate import migrate
from schemas.settings import Settings
from schemas.topics import Topic, partition_of
from tests.integration.audit_captured import Captured, all_records, capture
from tests.integration.stream_world import eventually, working
from tests.integration.worker import Deployment, deployment

JANUARY, FEBRUARY = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"

PARTITIONS = 2
METERS_OF_MANY = 1_003
"""More than the lines of one part of a closed period."""


def named(home: int, name: str) -> str:
    """An id that is at home in a partition."""
    return next(id_ for n in range(100) if partition_of(id_ := f"{name}_{n}", PARTITIONS) == home)


SUBS = {
    name: named(number % PARTITIONS, name)
    for number, name in enumerate(
        (
            *("near", "far", "flat", "manual", "endless", "once", "cancelled", "ended", "berlin"),
            *("scoped", "evented", "aged", "many", "late", "upgraded", "tiered"),
        )
    )
}
NEAR, FAR = SUBS["near"], SUBS["far"]
HOME = partition_of(NEAR, PARTITIONS)
"""Of NEAR; FAR is at home in the other partition."""

_SERVICES: dict[str, dict[str, Any]] = {
    "svc": {},
    "svc_scoped": {"eventKeyScope": "PERIOD"},
    "svc_evented": {"eventKeyScope": "EVENT"},
    "svc_aged": {"maxEventAgeSeconds": 3600},
}
_PLANS: dict[str, dict[str, Any]] = {
    "plan": {"unitPrices": {"tokens": "0.000003", "free": 0}, "amount": "0.25"},
    "plan_flat": {"pricingType": "FIXED_RECURRING", "amount": "49"},
    "plan_manual": {"invoicing": "MANUAL", "amount": 2},
    "plan_endless": {"billingInterval": "NONE"},
    "plan_once": {"pricingType": "ONE_TIME", "amount": "10"},
    "plan_daily": {"billingInterval": "DAY", "unitPrices": {"tokens": "0.0000005"}},
}
_TIERS = [
    {"upTo": "10", "unitPrice": "1"},
    {"upTo": "20.5", "unitPrice": "0.5", "flatAmount": "5"},
    {"upTo": None, "unitPrice": "0.1", "flatAmount": "7"},
]
_PLANS["plan_tiered"] = {
    "prices": {
        "graded": {"model": "GRADUATED", "tiers": _TIERS},
        "volume": {"model": "VOLUME", "included": "2", "tiers": _TIERS},
        "packed": {"model": "PACKAGE", "included": 1000, "unitPrice": "2.5", "packageSize": 1000},
        "single": {"model": "PER_UNIT", "included": 100, "unitPrice": "0.01"},
    }
}
_TERMS = {"pricingType": "USAGE_BASED", "billingInterval": "MONTH"}
_LIFE: dict[str, list[tuple[str, str | None]]] = {
    "cancelled": [("CANCELLED", None)],
    "ended": [("ACTIVE", "2026-01-10T00:00:00.000Z"), ("CANCELLED", "2026-02-10T00:00:00.000Z")],
}
_PLAN_CHANGES = {"upgraded": [{"paymentPlanId": "plan_flat", "from": FEBRUARY}]}
_OF_PLAN = {"flat": "plan_flat", "manual": "plan_manual", "endless": "plan_endless", "once": "plan_once",
            "tiered": "plan_tiered"}  # fmt: skip


def catalog() -> list[dict[str, Any]]:
    """All but the subscription that comes late."""
    entries: list[dict[str, Any]] = [{"kind": "service", "id": id_, "name": id_, **f} for id_, f in _SERVICES.items()]
    plan = {"kind": "plan", "name": "Plan", "serviceId": "svc", **_TERMS}
    entries += [{**plan, "id": id_, **fields} for id_, fields in _PLANS.items()]
    entries += [subscription(name) for name in SUBS if name != "late"]
    for status in ("OPEN", "PAID"):
        transitions = [{"version": 1, "status": status, "at": None}]
        invoice = {"serviceId": "svc", "userId": "user", "transitions": transitions}
        entries.append({"kind": "invoice", "id": f"inv_{status.lower()}", **invoice})
    return entries


def subscription(name: str) -> dict[str, Any]:
    """A subscription as it stands in the catalog."""
    service = f"svc_{name}" if f"svc_{name}" in _SERVICES else "svc"
    life = _LIFE.get(name, [("ACTIVE", None)])
    anchor = {"anchor": "2025-12-30T23:00:00.000Z", "zone": "Europe/Berlin"} if name == "berlin" else {}
    return {
        "kind": "subscription",
        "id": SUBS[name],
        "serviceId": service,
        "paymentPlanId": "plan_daily" if name == "berlin" else _OF_PLAN.get(name, "plan"),
        "userId": "user",
        "billingAnchor": anchor.get("anchor", "2026-01-01T00:00:00.000Z"),
        "timeZone": anchor.get("zone", "UTC"),
        "createdAt": "2026-01-01T00:00:00.000Z",
        "planChanges": _PLAN_CHANGES.get(name, []),
        "version": len(life),
        "transitions": [{"version": n, "status": status, "at": at} for n, (status, at) in enumerate(life, start=1)],
    }


def event(name: str, key: str, quantity: Any = "1.5", **fields: Any) -> bytes:
    """An event of a subscription, in January unless it says otherwise; a field set to ... is left out."""
    service = f"svc_{name}" if f"svc_{name}" in _SERVICES else "svc"
    document = {
        "serviceId": service,
        "subscriptionId": SUBS[name],
        "userId": "user",
        "eventKey": key,
        "quantity": quantity,
        "occurredAt": "2026-01-15T12:00:00Z",
        **fields,
    }
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


def home_of(name: str) -> int:
    """The partition of a subscription."""
    return partition_of(SUBS[name], PARTITIONS)


FIRST: Sequence[tuple[str, bytes | None, int]] = [
    *((f"n{n}", event("near", f"tokens#n{n}", str(n * 1_000_001)), HOME) for n in range(1, 6)),
    *((f"f{n}", event("far", f"tokens#f{n}", f"{n}.000001"), 1 - HOME) for n in range(1, 6)),
    ("february", event("near", "tokens#feb", "7", occurredAt="2026-02-01T00:00:00Z"), HOME),
    ("january's last", event("near", "calls#jan", "3", occurredAt="2026-01-31T23:59:59.999Z"), HOME),
    ("identical", event("near", "tokens#n1", "1000001.0", occurredAt="2026-01-15T13:00:00+01:00"), HOME),
    ("another content", event("near", "tokens#n1", "5"), HOME),
    ("another, by state", event("near", "tokens#n1", "5", invoiceId="inv_paid"), HOME),
    ("linked", event("near", "tokens#linked", invoiceId="inv_open"), HOME),
    ("paid", event("near", "tokens#paid", invoiceId="inv_paid"), HOME),
    ("no invoice", event("near", "tokens#none", invoiceId="inv_none"), HOME),
    ("future", event("near", "tokens#future", occurredAt="2100-01-01T00:00:00Z"), HOME),
    ("junk", b"\x00\xff", HOME),
    ("null", None, HOME),
    ("no quantity", event("near", "tokens#q", quantity=...), HOME),
    ("no service", event("near", "tokens#s", serviceId="svc_none"), HOME),
    ("another user", event("near", "tokens#u", userId="eve"), HOME),
    ("cancelled", event("cancelled", "tokens#1"), home_of("cancelled")),
    ("forwarded", event("far", "tokens#forwarded", "11", occurredAt=...), HOME),
    ("forwarded, january", event("far", "tokens#forwarded2", "12"), HOME),
    ("forwarded twice", event("far", "tokens#forwarded2", "12"), HOME),
    ("forwarded repeat of its own", event("far", "tokens#f1", "1.000001"), HOME),
    ("unknown, forwarded", event("far", "tokens#x", serviceId="svc_none"), HOME),
    ("flat", event("flat", "tokens#1", "8"), home_of("flat")),
    ("manual", event("manual", "tokens#1", "8"), home_of("manual")),
    ("endless", event("endless", "tokens#1", "8"), home_of("endless")),
    ("once", event("once", "tokens#1", "8"), home_of("once")),
    ("berlin", event("berlin", "tokens#1", "3", occurredAt="2026-01-15T22:59:59.999Z"), home_of("berlin")),
    ("berlin, a day on", event("berlin", "tokens#2", "5", occurredAt="2026-01-15T23:00:00Z"), home_of("berlin")),
    ("scoped", event("scoped", "tokens#1"), home_of("scoped")),
    ("scoped, again", event("scoped", "tokens#1", occurredAt="2026-02-15T00:00:00Z"), home_of("scoped")),
    ("scoped, twice", event("scoped", "tokens#1", "9"), home_of("scoped")),
    ("evented", event("evented", "tokens", eventId="a"), home_of("evented")),
    ("evented, b", event("evented", "tokens", eventId="b"), home_of("evented")),
    ("evented, without", event("evented", "tokens"), home_of("evented")),
    ("aged", event("aged", "tokens#1"), home_of("aged")),
    ("aged, now", event("aged", "tokens#2", occurredAt=...), home_of("aged")),
    ("upgraded", event("upgraded", "calls#1", "8"), home_of("upgraded")),
    ("upgraded, february", event("upgraded", "calls#2", "5", occurredAt=FEBRUARY), home_of("upgraded")),
    *(
        (f"tiered {key}", event("tiered", key, quantity), home_of("tiered"))
        for key, quantity in (
            *(("graded#1", "10"), ("graded#2", "10.5"), ("volume#1", "22.5"), ("volume#2", "0.1")),
            *(("packed#1", 2000), ("single#1", 90), ("single#2", 60)),
        )
    ),
    ("too early", event("late", "tokens#1"), home_of("late")),
    *((f"many{n}", event("many", f"meter{n:04d}", "1"), home_of("many")) for n in range(METERS_OF_MANY)),
]
"""What each event is, the event, and where it is put."""

SECOND: Sequence[tuple[str, bytes, int]] = [
    ("late", event("near", "tokens#late", "1000000"), HOME),
    ("late, free", event("far", "free#1", "1"), 1 - HOME),
    ("late, forwarded", event("far", "tokens#late", "1000000"), HOME),
    ("late, flat", event("flat", "tokens#late", "8"), home_of("flat")),
    ("late, before the upgrade", event("upgraded", "calls#late", "4"), home_of("upgraded")),
    ("late, after the upgrade", event("upgraded", "calls#later", "4", occurredAt=FEBRUARY), home_of("upgraded")),
    ("not too early", event("late", "tokens#2"), home_of("late")),
    ("tiered, late", event("tiered", "graded#3", "100"), home_of("tiered")),
    ("tiered, one package more", event("tiered", "packed#2", "0.000001"), home_of("tiered")),
]


async def make(tally: Deployment, database_url: str) -> Captured:
    """Make all of it, and read what came of it."""
    await tally.publish(*catalog())
    offsets = {name: await tally.put(None, value, partition) for name, value, partition in FIRST}
    await _put_aborted(tally)
    forwards = sum(name.startswith(("forwarded", "unknown, forwarded")) for name, *_ in FIRST)
    async with tally.worker():
        await tally.decided(len(FIRST) + 1, forwardedIn=forwards)
        await _settled(tally)
        await tally.publish(subscription("late"))
        offsets |= {name: await tally.put(None, value, partition) for name, value, partition in SECOND}
        await tally.decided(len(FIRST) + 1 + len(SECOND), forwardedIn=forwards + 1)
        await _settled(tally)
        await _void(tally, offsets)
        await tally.decided(0, voids=4, voidsRepeated=1, voidsRejected=2, forwardedIn=forwards + 2)
        await _settled(tally)
    await _copy_to_postgres(tally.settings, database_url)
    return await capture(tally.settings, database_url)


async def _put_aborted(tally: Deployment) -> None:
    """An event in a transaction that a foreign producer aborts, and one in a transaction that it commits."""
    prefix = tally.settings.topic_prefix
    foreign = AIOKafkaProducer(bootstrap_servers=tally.settings.kafka, transactional_id=f"{prefix}foreign")
    await foreign.start()
    topic = tally.settings.topic(Topic.USAGE_EVENTS)
    for name in ("aborted", "n2"):
        await foreign.begin_transaction()
        value = event("near", f"tokens#{name}", "2000002")
        await foreign.send_and_wait(topic, value, key=NEAR.encode(), partition=HOME)
        await (foreign.abort_transaction() if name == "aborted" else foreign.commit_transaction())
    await foreign.stop()


async def _void(tally: Deployment, offsets: dict[str, int]) -> None:
    """Voids that apply, one that repeats, and what can't be one; and a stray of `usage-forwarded`."""
    await tally.put_void(f"ue_{HOME}_{offsets['n5']}", NEAR, "tokens#n5")
    await tally.put_void(f"ue_{HOME}_{offsets['forwarded, january']}", FAR, "tokens#forwarded2")
    await tally.put_void(f"ue_{HOME}_{offsets['n5']}", NEAR, "tokens#n5")
    for key in ("volume#2", "single#2"):
        await tally.put_void(f"ue_{home_of('tiered')}_{offsets[f'tiered {key}']}", SUBS["tiered"], key)
    await tally.put_void(f"ue_{HOME}_{offsets['junk']}", NEAR, "tokens#junk")
    await tally.put_on(Topic.USAGE_CORRECTIONS, None, b"{}", HOME)
    await tally.put_on(Topic.USAGE_FORWARDED, None, event("near", "tokens#stray"), HOME)


async def _settled(tally: Deployment) -> None:
    """Until every period that is over is closed, and none has usage left to charge."""

    async def nothing_waits() -> bool:
        latest = {record.key: json.loads(record.value) for record in await tally.records(Topic.USAGE_TOTALS)}
        states = [state for key, state in latest.items() if json.loads(key)[2] == ""]
        over = [state for state in states if state["periodEnd"] and state["periodEnd"] < "2026-06"]
        return all(state["closed"] and state["firstAt"] is None for state in over)

    await eventually(nothing_waits)


async def _copy_to_postgres(settings: Settings, database_url: str) -> None:
    """Run closer and projector until they have read all there is."""
    connection = await asyncpg.connect(database_url)
    async with copying_to_postgres(settings, database_url):
        ends = await _ends(settings, Topic.CLOSED_PERIODS, *PROJECTED)

        async def all_is_read() -> bool:
            rows = await connection.fetch("SELECT topic, partition, next_offset FROM stream_offsets")
            read = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            return all(read.get(place, 0) >= end for place, end in ends.items())

        await eventually(all_is_read)
    await connection.close()


@asynccontextmanager
async def copying_to_postgres(settings: Settings, database_url: str) -> AsyncIterator[None]:
    """A closer and a projector at work."""
    fields = {**settings.model_dump(include={"kafka", "topic_prefix"}), "database_url": database_url}
    async with (
        working(Closer(CloserSettings.model_validate(fields)).run),
        working(Projector(ProjectorSettings.model_validate(fields)).run),
    ):
        yield


async def _ends(settings: Settings, *topics: Topic) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition: markers are no records."""
    found = await all_records(settings, *topics)
    return {
        TopicPartition(settings.topic(topic), partition): records[-1].offset + 1
        for (topic, partition), records in found.items()
        if records
    }


@cache
def captured(bootstrap: str, postgres_dsn: str) -> Captured:
    """The world, made once for all tests; they change copies of it."""

    async def made() -> Captured:
        with tempfile.TemporaryDirectory(prefix="tally-test-") as directory:
            async with new_world(bootstrap, postgres_dsn, Path(directory)) as (tally, database_url):
                return await make(tally, database_url)

    return asyncio.run(made())


@asynccontextmanager
async def new_world(bootstrap: str, postgres_dsn: str, directory: Path) -> AsyncIterator[tuple[Deployment, str]]:
    """Topics and a database of their own, with nothing in them."""
    name = f"audit{uuid.uuid4().hex[:10]}"
    database_url = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    owner = await asyncpg.connect(postgres_dsn)
    try:
        await owner.execute(f'CREATE DATABASE "{name}"')
        await migrate(database_url)
        async with deployment(bootstrap, f"{name}-", directory / "state", PARTITIONS) as tally:
            yield tally, database_url
        await owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await owner.close()
