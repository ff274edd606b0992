"""Rejected events as callers see them, from the table `rejected_usage_events`."""

import base64
from typing import TYPE_CHECKING

from ingest.gateway.columns import time_text
from schemas.catalog import WireModel
from schemas.timestamps import TimestampText

if TYPE_CHECKING:
    import asyncpg


class OriginView(WireModel):
    """Where the record was first appended."""

    topic: str
    partition: int
    offset: int


class RejectedEventView(WireModel):
    """A record that was not counted, and why; key and value are as received, null where the record had none."""

    id: str
    code: str
    error: str
    field: str | None
    received_at: TimestampText
    origin: OriginView
    key_base64: str | None
    value_base64: str | None


def rejected_event_view(row: "asyncpg.Record") -> RejectedEventView:
    """The view of a row of `rejected_usage_events`."""
    return RejectedEventView(
        id=row["id"],
        code=row["code"],
        error=row["error"],
        field=row["field"],
        received_at=time_text(row["received_at"]),
        origin=OriginView(topic=row["origin_topic"], partition=row["origin_partition"], offset=row["origin_offset"]),
        key_base64=_base64(row["key"]),
        value_base64=_base64(row["value"]),
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
