"""A client for producers that send usage over HTTP.

    async with TallyClient("http://127.0.0.1:8080", key) as tally:
        event = await tally.record({"serviceId": ..., "eventKey": "token_generated#req-42", "quantity": "5.25"})

What is away or busy is asked again with the same body, when Retry-After says so. That is safe, because an event key
counts once: if an earlier try was counted and its answer lost, the event comes back as the one that was.
"""

import asyncio
import json
import random
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, Self

import httpx

from schemas.usage_event import BATCH_EVENTS_MAX

Recorded = dict[str, Any]
"""The usage event as Tally has it; or, while it is not decided yet, its receipt with the status PENDING."""

_ASKED_AGAIN: Final = frozenset({429, 502, 503, 504})
_PAUSE_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class UsageEventRefused(Exception):
    """Tally refuses an event, or the request. The text is its sentence; `document` is the whole answer."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(document.get("error") or f"Something that is not Tally answered {status}; check the URL.")
        self.status = status
        self.code: str = document.get("code", "unexpected_answer")
        self.field: str | None = document.get("field")
        self.request_id: str | None = document.get("requestId")
        self.document = document


class NotAnswered(Exception):
    """Tally did not answer in time. It is not known what was recorded; all of it may be sent again."""


Outcome = Recorded | UsageEventRefused


class TallyClient:
    """Records usage events, each call within `seconds`, however often it has to ask again.

    `wait_seconds` (0 to 30, else Tally's own 5) is how long Tally may take for the verdict before it gives a receipt.

    Fields are JSON; what is neither is sent as its text, so a Decimal stays exact.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        seconds: float = 60,
        wait_seconds: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if wait_seconds is not None:
            headers["prefer"] = f"wait={wait_seconds}"
        self._client = httpx.AsyncClient(base_url=f"{url}/api/v1/", headers=headers, transport=transport)
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def record(self, event: Mapping[str, Any]) -> Recorded:
        """Record one event. Raises UsageEventRefused and NotAnswered."""
        answer = await _Call(self._client, self._seconds).post("usage-events", _encoded(event))
        outcome = _outcome(answer.status_code, _document(answer))
        if isinstance(outcome, UsageEventRefused):
            raise outcome
        return outcome

    async def record_many(self, events: Iterable[Mapping[str, Any]]) -> list[Outcome]:
        """Record events in batches; what became of each, in order. Raises UsageEventRefused where a whole request is
        refused, and NotAnswered."""
        call = _Call(self._client, self._seconds)
        waiting, outcomes = iter(events), list[Outcome]()
        while batch := [_encoded(event) for event in islice(waiting, BATCH_EVENTS_MAX)]:
            outcomes += await _record_batch(call, batch)
        return outcomes


class _Call:
    """The tries of one call, until its time is over."""

    def __init__(self, client: httpx.AsyncClient, seconds: float) -> None:
        self._client = client
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._pauses = iter(_PAUSE_SECONDS)

    async def post(self, path: str, body: bytes) -> httpx.Response:
        """The first answer that is not to be asked for again. Raises NotAnswered."""
        while True:
            try:
                answer = await self._client.post(path, content=body, timeout=max(self._left(), 0.001))
            except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
                await self.pause("", repr(error))
                continue
            if answer.status_code not in _ASKED_AGAIN:
                return answer
            await self.pause(answer.headers.get("retry-after", ""), f"{answer.status_code} {answer.text}")

    async def pause(self, retry_after: str, problem: str) -> None:
        """Wait as long as was asked for, and a little longer each time. Raises NotAnswered."""
        longest = next(self._pauses, _PAUSE_SECONDS[-1])
        seconds = random.uniform(longest / 2, longest)  # noqa: S311 - so that not all callers come back at once
        if retry_after.isdecimal():
            seconds = max(seconds, int(retry_after))
        if seconds >= self._left():
            raise NotAnswered(f"Tally did not answer within {self._seconds:g} s ({problem}); send the same again.")
        await asyncio.sleep(seconds)

    def _left(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()


async def _record_batch(call: _Call, batch: list[bytes]) -> list[Outcome]:
    """What became of the events of one request; those that were not acknowledged are sent again by themselves."""
    outcomes: dict[int, Outcome] = {}
    while waiting := [number for number in range(len(batch)) if number not in outcomes]:
        body = b'{"usageEvents":[%b]}' % b",".join(batch[number] for number in waiting)
        answer = await call.post("usage-events/batch", body)
        document = _document(answer)
        if "results" not in document:
            raise UsageEventRefused(answer.status_code, document)
        results = list(zip(waiting, document["results"], strict=True))
        outcomes |= {n: _outcome(r["status"], r) for n, r in results if r["status"] not in _ASKED_AGAIN}
        if len(outcomes) < len(batch):
            await call.pause("", "some events were not acknowledged")
    return [outcomes[number] for number in range(len(batch))]


def _outcome(status: int, document: dict[str, Any]) -> Outcome:
    """An identical repeat is what was counted: most likely it was an earlier try of the same call."""
    repeated = document.get("existing") if document.get("identical") else None
    recorded: Recorded | None = document.get("usageEvent") or document.get("receipt") or repeated
    return UsageEventRefused(status, document) if recorded is None else recorded


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        return dict(answer.json())
    except (ValueError, TypeError):
        return {}


def _encoded(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, default=str, allow_nan=False, ensure_ascii=False).encode()
