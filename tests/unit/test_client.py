"""The client for producers, on a transport that answers as a test wants."""

import asyncio
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ingest.client import NotAnswered, TallyClient, UsageEventRefused
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.errors import error_example
from schemas.rejection import Reason

EVENT = examples.NEW_USAGE_EVENT
ACCEPTED = httpx.Response(201, json={"usageEvent": examples.USAGE_EVENT})
PENDING = httpx.Response(202, json={"receipt": examples.RECEIPT})
AWAY = httpx.Response(503, json=error_example(Reason.UNAVAILABLE), headers={"retry-after": "1"})
BUSY = httpx.Response(429, json=error_example(Reason.RATE_LIMITED), headers={"retry-after": "1"})

Answers = Iterable[httpx.Response | Exception]


class Answering(httpx.AsyncBaseTransport):
    """Gives one answer after the other, and keeps what it was asked and when."""

    def __init__(self, answers: Answers) -> None:
        self.answers = iter(answers)
        self.bodies: list[Any] = []
        self.asked_at: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked_at.append(asyncio.get_running_loop().time())
        self.bodies.append(await request.aread())
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


def client(transport: httpx.AsyncBaseTransport, seconds: float = 30) -> TallyClient:
    return TallyClient("http://gateway", "tally_key", seconds=seconds, transport=transport)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([ACCEPTED], examples.USAGE_EVENT),
        ([PENDING], examples.RECEIPT),
        ([httpx.ConnectError("refused"), ACCEPTED], examples.USAGE_EVENT),
        ([httpx.ReadError("reset"), ACCEPTED], examples.USAGE_EVENT),
        ([httpx.RemoteProtocolError("half an answer"), ACCEPTED], examples.USAGE_EVENT),
        ([httpx.Response(502, text="<html>"), ACCEPTED], examples.USAGE_EVENT),
        (
            [httpx.ReadError("reset"), httpx.Response(409, json=error_example(Reason.DUPLICATE_EVENT_KEY))],
            examples.USAGE_EVENT,
        ),
    ],
)
async def test_event_is_recorded_with_the_same_body_each_time(answers: list[Any], expected: dict[str, Any]) -> None:
    transport = Answering(answers)
    async with client(transport) as tally:
        assert await tally.record(EVENT) == expected
    assert [json.loads(body) for body in transport.bodies] == [EVENT] * len(answers)
    assert len(set(transport.bodies)) == 1


@pytest.mark.parametrize("answer", [AWAY, BUSY])
async def test_retry_after_is_waited_for(answer: httpx.Response) -> None:
    transport = Answering([answer, ACCEPTED])
    async with client(transport) as tally:
        await tally.record(EVENT)
    first, second = transport.asked_at
    assert 1 <= second - first < 3


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([httpx.Response(503, json=error_example(Reason.UNAVAILABLE), headers={"retry-after": "3600"})], "503"),
        ([httpx.ConnectError("nobody listens")] * 100, "nobody listens"),
        ([httpx.Response(503, text="busy", headers=[(b"retry-after", b"\xb2")])] * 100, "busy"),
    ],
)
async def test_call_ends_when_there_is_no_time_for_another_try(answers: list[Any], problem: str) -> None:
    async with client(Answering(answers), seconds=0.3) as tally, asyncio.timeout(2):
        with pytest.raises(NotAnswered, match=problem):
            await tally.record(EVENT)


@pytest.mark.parametrize(
    ("answer", "code", "field"),
    [
        (httpx.Response(400, json=error_example(Reason.DECIMAL_NEGATIVE)), "decimal_negative", "quantity"),
        (httpx.Response(401, json=error_example(Reason.UNAUTHORIZED)), "unauthorized", None),
        (httpx.Response(409, json=error_example(Reason.SUBSCRIPTION_NOT_ACTIVE)), "subscription_not_active", None),
        (
            httpx.Response(409, json={**error_example(Reason.DUPLICATE_EVENT_KEY), "identical": False}),
            "duplicate_event_key",
            None,
        ),
    ],
)
async def test_refusal_says_why_and_is_not_asked_again(answer: httpx.Response, code: str, field: str | None) -> None:
    transport = Answering([answer])
    async with client(transport) as tally:
        with pytest.raises(UsageEventRefused) as refused:
            await tally.record(EVENT)
    assert (refused.value.status, refused.value.code, refused.value.field) == (answer.status_code, code, field)
    assert refused.value.request_id == examples.REQUEST_ID
    assert str(refused.value) == answer.json()["error"]


@pytest.mark.parametrize(
    "answer", [httpx.Response(404, text="<html>"), httpx.Response(404, json={"detail": "Not Found"})]
)
async def test_answer_of_something_else_says_to_check_the_url(answer: httpx.Response) -> None:
    async with client(Answering([answer])) as tally:
        with pytest.raises(UsageEventRefused, match="404; check the URL") as refused:
            await tally.record(EVENT)
    assert refused.value.code == "unexpected_answer"


def batch(*statuses: int) -> httpx.Response:
    """The answer to a batch; its events have their numbers as ids."""
    shown: dict[int, Callable[[], dict[str, Any]]] = {
        201: lambda: {"usageEvent": examples.USAGE_EVENT},
        202: lambda: {"receipt": examples.RECEIPT},
        400: lambda: error_example(Reason.DECIMAL_NEGATIVE),
        503: lambda: error_example(Reason.UNAVAILABLE),
    }
    return httpx.Response(207, json={"results": [{"status": status, **shown[status]()} for status in statuses]})


async def test_only_those_of_a_batch_that_were_not_acknowledged_are_sent_again() -> None:
    events = [{**EVENT, "eventKey": f"tokens#{number}"} for number in range(4)]
    transport = Answering([batch(201, 503, 400, 503), batch(503, 201), batch(202)])
    async with client(transport) as tally:
        outcomes = await tally.record_many(events)
    sent = [[event["eventKey"][-1] for event in json.loads(body)["usageEvents"]] for body in transport.bodies]
    assert sent == [["0", "1", "2", "3"], ["1", "3"], ["1"]]
    assert [outcomes[0], outcomes[1], outcomes[3]] == [examples.USAGE_EVENT, examples.RECEIPT, examples.USAGE_EVENT]
    assert isinstance(outcomes[2], UsageEventRefused)
    assert (outcomes[2].status, outcomes[2].code, outcomes[2].field) == (400, "decimal_negative", "quantity")


async def test_events_go_in_batches_of_a_thousand() -> None:
    transport = Answering([batch(*[201] * 1_000), batch(*[201] * 1_000), batch(201)])
    async with client(transport) as tally:
        assert len(await tally.record_many(EVENT for _ in range(2_001))) == 2_001
        assert await tally.record_many([]) == []
    assert [len(json.loads(body)["usageEvents"]) for body in transport.bodies] == [1_000, 1_000, 1]


async def test_batch_that_is_refused_whole_raises() -> None:
    transport = Answering([httpx.Response(403, json=error_example(Reason.FORBIDDEN))])
    async with client(transport) as tally:
        with pytest.raises(UsageEventRefused) as refused:
            await tally.record_many([EVENT])
    assert refused.value.code == "forbidden"


async def test_decimals_are_sent_exactly() -> None:
    transport = Answering([ACCEPTED])
    async with client(transport) as tally:
        await tally.record({**EVENT, "quantity": Decimal("12345678901234.000001")})
    assert json.loads(transport.bodies[0])["quantity"] == "12345678901234.000001"
