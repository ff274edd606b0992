"""A batch of usage events."""

import json
from typing import Any

import pytest

from ingest.gateway.batch import COMMAS_MAX, parse_batch
from ingest.outcome import OutcomeUnknown, Receipt, Unavailable
from schemas.rejection import Reason, Rejection
from schemas.usage_event import UsageEvent
from tests.unit.gateway_in_memory import GatewayInMemory, key_text

EVENT = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens#1", "quantity": "1"}


def batch(*items: Any) -> bytes:
    return json.dumps({"usageEvents": items}).encode()


def reason_of(result: UsageEvent | Rejection | list[UsageEvent | Rejection]) -> Reason | None:
    return result.reason if isinstance(result, Rejection) else None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", Reason.INVALID_BODY),
        (b"{}", Reason.FIELD_REQUIRED),
        (b'{"usageEvents": null}', Reason.FIELD_REQUIRED),
        (b'{"usageEvents": {}}', Reason.FIELD_INVALID),
        (b'{"usageEvents": "events"}', Reason.FIELD_INVALID),
        (batch(), Reason.BATCH_SIZE_INVALID),
        (batch(*[EVENT] * 1000), None),
        (batch(*[EVENT] * 1001), Reason.BATCH_SIZE_INVALID),
        (b'{"usageEvents": [' + b"1," * COMMAS_MAX + b"1]}", Reason.BATCH_SIZE_INVALID),
        (batch(EVENT) + b" " * 16 * 2**20, Reason.BODY_TOO_LARGE),
        (batch(EVENT).replace(b'"1"', b"NaN"), Reason.INVALID_BODY),
        (batch({**EVENT, "x": json.loads("[" * 40 + "]" * 40)}), Reason.INVALID_BODY),
    ],
)
def test_batch_as_a_whole(body: bytes, reason: Reason | None) -> None:
    assert reason_of(parse_batch(body)) is reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (EVENT, None),
        (1, Reason.INVALID_BODY),
        (None, Reason.INVALID_BODY),
        ([], Reason.INVALID_BODY),
        ({}, Reason.FIELD_REQUIRED),
        ({**EVENT, "quantity": True}, Reason.DECIMAL_INVALID),
        ({**EVENT, "note": "n" * 60_000}, None),
        ({**EVENT, "note": "n" * 70_000}, Reason.BODY_TOO_LARGE),
        ({**EVENT, "note": ["n" * 1000] * 66}, Reason.BODY_TOO_LARGE),
        ({**EVENT, "note": "é" * 33_000}, Reason.BODY_TOO_LARGE),
        ({**EVENT, "eventKey": "k" * 70_000}, Reason.BODY_TOO_LARGE),
        ({**EVENT, "eventKey": "k" * 300}, Reason.FIELD_INVALID),
    ],
)
def test_each_item_stands_by_itself(item: Any, reason: Reason | None) -> None:
    parsed = parse_batch(batch(EVENT, item, EVENT))
    assert isinstance(parsed, list)
    assert [reason_of(result) for result in parsed] == [None, reason, None]


async def post(gateway: GatewayInMemory, body: bytes, key: str | None = None) -> tuple[int, Any]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    answer = await gateway.request("POST", "/api/v1/usage-events/batch", body, **headers)
    return answer.status_code, answer.json()


async def test_results_are_in_the_order_of_the_events() -> None:
    status, document = await post(GatewayInMemory(), batch(EVENT, 1, EVENT, {**EVENT, "quantity": "-1"}))
    assert status == 207
    assert document["results"][0] == {"status": 202, "receipt": {"id": "ue_3_0", "status": "PENDING"}}
    assert (document["results"][1]["status"], document["results"][1]["code"]) == (400, "invalid_body")
    assert document["results"][2] == {"status": 202, "receipt": {"id": "ue_3_1", "status": "PENDING"}}
    assert document["results"][3]["status"] == 400
    assert document["results"][3]["code"] == "decimal_negative"
    assert document["results"][3]["field"] == "quantity"
    assert document["results"][3]["requestId"]


async def test_event_of_a_service_that_the_key_may_not_touch_looks_unknown() -> None:
    gateway = GatewayInMemory()
    restricted = gateway.keys.add(key_text("r"), ["usage:write"], ["svc"])
    status, document = await post(gateway, batch(EVENT, {**EVENT, "serviceId": "other"}), restricted)
    assert status == 207
    assert [(result["status"], result.get("code")) for result in document["results"]] == [
        (202, None),
        (404, "service_not_found"),
    ]
    assert [event.service_id for event in gateway.producer.published] == ["svc"]


async def test_one_event_without_receipt_fails_no_other() -> None:
    gateway = GatewayInMemory()
    gateway.producer.outcomes = [Receipt(0, 7), OutcomeUnknown()]
    status, document = await post(gateway, batch(EVENT, EVENT))
    assert status == 207
    assert [result["status"] for result in document["results"]] == [202, 503]
    assert "may be sent again" in document["results"][1]["error"]


async def test_batch_without_any_receipt_is_a_503_and_says_so_if_any_event_may_be_published() -> None:
    gateway = GatewayInMemory()
    gateway.producer.outcomes = [Unavailable(), OutcomeUnknown()]
    status, document = await post(gateway, batch(EVENT, EVENT, 1))
    assert (status, document["code"]) == (503, "unavailable")
    assert "may be sent again" in document["error"]


async def test_batch_of_malformed_events_only_publishes_nothing() -> None:
    gateway = GatewayInMemory()
    status, document = await post(gateway, batch(1, 2))
    assert status == 207
    assert [result["status"] for result in document["results"]] == [400, 400]
    assert gateway.producer.published == []
