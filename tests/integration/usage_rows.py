"""Rows of the tables that the gateway reads usage from, as the projector would have written them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

CREATED = "2026-03-01T00:00:00+00:00"


def at(text: str) -> datetime:
    """A time; without an offset it is UTC."""
    return datetime.fromisoformat(text if "+" in text else f"{text.removesuffix('Z')}+00:00")


async def insert(database: asyncpg.Connection, table: str, **columns: Any) -> None:
    """Insert a row."""
    names, places = ", ".join(columns), ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *columns.values())


async def record(database: asyncpg.Connection, row_id: str, occurred_at: str, **changes: Any) -> None:
    """An accepted event of a January."""
    columns = {
        "service_id": "svc",
        "subscription_id": "sub",
        "user_id": "user",
        "event_key": f"tokens#{row_id}",
        "event_id": None,
        "meter": "tokens",
        "quantity": Decimal("1.5"),
        "invoice_id": None,
        "period_start": at("2026-01-01T00:00:00"),
        "period_end": at("2026-02-01T00:00:00"),
        "status": "RECORDED",
        "sequence": 0,
        "created_at": at(CREATED),
        "updated_at": at(CREATED),
        **changes,
    }
    await insert(database, "usage_events", id=row_id, occurred_at=at(occurred_at), **columns)


async def record_shown(database: asyncpg.Connection, shown: dict[str, Any]) -> None:
    """The row of an event that was answered as recorded."""
    period = shown["billingPeriod"]
    await record(
        database,
        shown["id"],
        shown["occurredAt"],
        service_id=shown["serviceId"],
        subscription_id=shown["subscriptionId"],
        user_id=shown["userId"],
        event_key=shown["eventKey"],
        event_id=shown["eventId"],
        meter=shown["meter"],
        quantity=Decimal(shown["quantity"]),
        invoice_id=shown["invoiceId"],
        period_start=at(period["start"]),
        period_end=at(period["end"]),
        created_at=at(shown["createdAt"]),
        updated_at=at(shown["updatedAt"]),
    )


async def reject(database: asyncpg.Connection, event_id: str, received_at: str, **changes: Any) -> None:
    """A rejected event."""
    _, partition, offset = event_id.split("_")
    columns = {
        "code": "subscription_not_active",
        "error": "The subscription was not ACTIVE at the time of the request.",
        "field": "subscriptionId",
        "service_id": "svc",
        "subscription_id": "sub",
        "origin_topic": "usage-events",
        "key": b"sub",
        "value": b"{}",
        **changes,
    }
    place = {"origin_partition": int(partition), "origin_offset": int(offset)}
    await insert(database, "rejected_usage_events", id=event_id, received_at=at(received_at), **place, **columns)
