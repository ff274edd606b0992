"""What callers see of a usage event is the same, whether the worker answers them or Postgres is read."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast

import pytest

from ingest.gateway.usage_views import usage_event_view
from schemas.billing_period import BillingPeriod
from schemas.timestamps import parse_timestamp
from schemas.usage_event import AcceptedUsageEvent, UsageEvent, shown_usage_event

ROW: dict[str, Any] = {
    "id": "ue_3_42",
    "service_id": "svc",
    "subscription_id": "sub",
    "user_id": "user",
    "event_key": "tokens#1",
    "event_id": None,
    "meter": "tokens",
    "quantity": Decimal("5.250000"),
    "occurred_at": datetime(2026, 1, 5, 12, 0, 0, 7_000, tzinfo=UTC),
    "sent_occurred_at": None,
    "invoice_id": None,
    "period_start": datetime(2026, 1, 1, tzinfo=UTC),
    "period_end": datetime(2026, 2, 1, tzinfo=UTC),
    "status": "RECORDED",
    "sequence": 0,
    "created_at": datetime(2026, 1, 5, 12, 0, 0, 7_000, tzinfo=UTC),
    "updated_at": datetime(2026, 1, 5, 12, 0, 0, 7_000, tzinfo=UTC),
}


def answered(**changes: Any) -> dict[str, Any]:
    """What the worker answers to the event of ROW."""
    event = UsageEvent("svc", "sub", "user", "tokens#1", 5_250_000)
    period = BillingPeriod(parse_timestamp("2026-01-01T00:00:00Z"), parse_timestamp("2026-02-01T00:00:00Z"))
    at = parse_timestamp("2026-01-05T12:00:00.007Z")
    fields = {"event": event, "period": period, "voided_at": None, "occurred_at": at, **changes}
    accepted = AcceptedUsageEvent(
        partition=3, offset=42, request_at=at, meter="tokens", fingerprint=b"", catalog_version=1, sequence=0, **fields
    )
    return cast("dict[str, Any]", json.loads(shown_usage_event(accepted.to_json())))


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        ({}, {}),
        ({"quantity": Decimal(10) ** 13}, {"event": UsageEvent("svc", "sub", "user", "tokens#1", 10**19)}),
        (
            {"event_id": "e", "invoice_id": "inv"},
            {"event": UsageEvent("svc", "sub", "user", "tokens#1", 5_250_000, None, "inv", "e")},
        ),
        ({"period_end": None}, {"period": BillingPeriod(parse_timestamp("2026-01-01T00:00:00Z"), None)}),
        (
            {"status": "VOIDED", "updated_at": datetime(2026, 1, 6, 1, tzinfo=timezone(timedelta(hours=1)))},
            {"voided_at": parse_timestamp("2026-01-06T00:00:00Z")},
        ),
    ],
)
def test_view_of_a_row_is_what_the_worker_answered(columns: dict[str, Any], fields: dict[str, Any]) -> None:
    row = {**ROW, **columns}
    row["quantity"] = row["quantity"].quantize(Decimal("0.000001"))  # as the column's type does
    assert usage_event_view(cast("Any", row)).wire() == answered(**fields)
