"""By what a request is found again: its id in the answer and the log, its trace in the log and at the events."""

import json
import logging

import pytest

from ingest.metrics import REQUESTS
from tests.unit.gateway_in_memory import GatewayInMemory

EVENT = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens#1", "quantity": "1"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("path", ["/api/v1/usage-events", "/api/v1/usage-events/batch"])
@pytest.mark.parametrize(
    ("traceparent", "sent"),
    [
        (None, []),
        (TRACE, [("traceparent", TRACE.encode())]),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", []),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", []),
        (TRACE.upper(), []),
        (TRACE + "-more", []),
    ],
)
async def test_the_trace_of_a_request_goes_on_to_its_events(
    path: str, traceparent: str | None, sent: list[tuple[str, bytes]]
) -> None:
    gateway = GatewayInMemory()
    body = {"usageEvents": [EVENT, EVENT]} if path.endswith("batch") else EVENT
    answer = await gateway.request("POST", path, json.dumps(body).encode(), traceparent=traceparent)
    assert answer.is_success
    assert gateway.producer.headers == [sent] * len(gateway.producer.published)
    assert gateway.producer.published


async def test_a_request_that_fails_is_logged_once_with_its_id_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    gateway = GatewayInMemory()
    gateway.producer.outcomes = [TypeError("no outcome")]  # type: ignore[list-item]  # a defect
    answer = await gateway.post_event(json.dumps(EVENT).encode(), x_request_id="req-1", traceparent=TRACE)
    assert (answer.status_code, answer.json()["code"]) == (500, "processing_failed")
    assert answer.json()["requestId"] == answer.headers["x-request-id"] == "req-1"
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert (vars(record)["request_id"], vars(record)["traceparent"]) == ("req-1", TRACE)
    assert record.exc_info


async def test_answers_are_logged_for_debugging_only(caplog: pytest.LogCaptureFixture) -> None:
    gateway = GatewayInMemory()
    caplog.set_level(logging.INFO, "ingest")
    await gateway.post_event(json.dumps(EVENT).encode())
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "ingest")
    answer = await gateway.request("GET", "/api/v1/services/a-name-that-a-caller-made-up", authorization=None)
    (record,) = caplog.records
    shown = {name: vars(record)[name] for name in ("method", "route", "status", "request_id")}
    assert shown == {
        "method": "GET",
        "route": "none",
        "status": 401,
        "request_id": answer.headers["x-request-id"],
    }


async def test_requests_are_counted_by_the_route_that_the_documentation_names() -> None:
    gateway = GatewayInMemory()
    gateway.keys.rows[0]["scopes"] = []
    counted = REQUESTS.labels("GET", "/api/v1/services/{id}", 403)
    before = counted.collect()
    await gateway.request("GET", "/api/v1/services/one")
    await gateway.request("GET", "/api/v1/services/two%2Fthree")
    (now,), (then,) = counted.collect(), before
    assert now.samples[0].value - then.samples[0].value == 2
