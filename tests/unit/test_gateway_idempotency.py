"""Which answers to a request with an Idempotency-Key are kept, and which free the key."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.catalog.ids import ids_from, new_id
from ingest.database import DatabaseAway
from ingest.gateway.answer import Answer
from ingest.gateway.idempotency import Idempotency
from ingest.gateway.idempotent_requests import Claim, IdempotentRequests, Recorded, RequestKey
from ingest.keys import ApiKey

SEED = UUID(int=7)


@dataclass
class RequestsInMemory:
    """Every request may be executed; what became of its claim is in `settled`."""

    settled: list[str] = field(default_factory=list)
    away: bool = False

    async def claim(self, key: RequestKey, body_hash: bytes) -> Claim:
        return Claim(key, SEED, datetime.now(UTC))

    async def store(self, claim: Claim, answer: Recorded) -> None:
        self._settle("kept")

    async def release(self, claim: Claim) -> None:
        self._settle("released")

    def _settle(self, outcome: str) -> None:
        if self.away:
            raise DatabaseAway("Postgres does not answer")
        self.settled.append(outcome)


async def call(requests: RequestsInMemory, app: ASGIApp) -> tuple[int, bytes]:
    """Status and body of what a POST with a key is answered."""
    path = "/api/v1/usage-events/batch"
    key = ApiKey("key", b"", frozenset(), None)
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"idempotency-key", b"k")],
        "state": {"request_id": "r", "key": key},
    }
    sent: list[Message] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await Idempotency(cast(IdempotentRequests, requests), app, 1)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def answering(status: int, body: bytes = b"{}") -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Answer(status, body, []).send(scope, send)

    return app


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"{}", "kept"),
        (201, b"{}", "kept"),
        (202, b"{}", "kept"),
        (207, b'{"results":[{"status":201},{"status":409,"error":"x"}]}', "kept"),
        (207, rb'{"results":[{"status":201,"usageEvent":{"eventKey":"{\"status\":503,"}}]}', "kept"),
        (207, b'{"results":[{"status":201},{"status":503,"error":"x"}]}', "released"),
        (400, b"{}", "kept"),
        (401, b"{}", "released"),
        (403, b"{}", "released"),
        (404, b"{}", "kept"),
        (409, b"{}", "kept"),
        (413, b"{}", "kept"),
        (415, b"{}", "kept"),
        (422, b"{}", "kept"),
        (429, b"{}", "released"),
        (500, b"{}", "released"),
        (503, b"{}", "released"),
    ],
)
async def test_answer_is_kept_unless_another_try_may_change_it(status: int, body: bytes, outcome: str) -> None:
    requests = RequestsInMemory()
    assert await call(requests, answering(status, body)) == (status, body)
    assert requests.settled == [outcome]


@pytest.mark.parametrize("status", [201, 503])
async def test_answer_is_given_though_postgres_has_gone_meanwhile(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await call(RequestsInMemory(away=True), answering(status)) == (status, b"{}")
    assert [vars(record)["request_id"] for record in caplog.records] == ["r"]


async def test_exception_frees_the_key_and_goes_on() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    requests = RequestsInMemory()
    with pytest.raises(ZeroDivisionError):
        await call(requests, failing)
    assert requests.settled == ["released"]


async def test_request_that_the_gateway_cuts_off_stays_in_flight() -> None:
    begun = asyncio.Event()

    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    requests = RequestsInMemory()
    calling = asyncio.create_task(call(requests, hanging))
    await begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert requests.settled == []


async def test_ids_come_from_the_seed_within_the_request_only() -> None:
    chosen: list[str] = []

    async def creating(scope: Scope, receive: Receive, send: Send) -> None:
        chosen.append(new_id("svc"))
        await Answer(201, b"{}", []).send(scope, send)

    for _ in range(2):
        await call(RequestsInMemory(), creating)
    with ids_from(SEED):
        assert [new_id("svc")] * 2 == chosen
        assert new_id("plan")[5:] != new_id("svc")[4:]
    with ids_from(UUID(int=8)):
        assert new_id("svc") != chosen[0]
    assert new_id("svc") != new_id("svc")
    assert len(new_id("svc")) == len(chosen[0])
