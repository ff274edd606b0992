"""Redriving over HTTP: which rejected events there are, and sending them on their way again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx

from schemas.errors import OperatorError

PAGE: Final = 100
CONCURRENCY: Final = 8
RETRY_SECONDS: Final = 60.0
"""A gateway may be restarted meanwhile, or ask for patience; what is away for longer is an error."""
WAIT_SECONDS: Final = 30
_RETRY_PAUSE_SECONDS: Final = 0.2
_LATER: Final = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_OUTCOMES: Final = {httpx.codes.CREATED: "recorded", httpx.codes.ACCEPTED: "pending"}


class RedriveFailed(OperatorError):
    """The gateway can't be used, or refuses the caller."""


class RejectedEvent(NamedTuple):
    """What a redrive needs of a rejected event."""

    id: str
    code: str
    topic: str


class RejectedEvents:
    """The rejected events of a gateway."""

    def __init__(self, url: str, api_key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {api_key}", "Prefer": f"wait={WAIT_SECONDS}"},
            timeout=2 * WAIT_SECONDS,
        )

    async def __aenter__(self) -> "RejectedEvents":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def matching(self, filters: Mapping[str, str]) -> AsyncIterator[RejectedEvent]:
        """All that meet the filters, newest first. Raises RedriveFailed."""
        cursor: dict[str, str] = {}
        while True:
            page = _body(await self._request("GET", "/rejected-events", {**filters, "limit": str(PAGE), **cursor}))
            for event in page["rejectedEvents"]:
                yield RejectedEvent(event["id"], event["code"], event["origin"]["topic"])
            if page["nextCursor"] is None:
                return
            cursor = {"cursor": page["nextCursor"]}

    async def redrive(self, events: Sequence[RejectedEvent], told: Callable[[str], None]) -> None:
        """Redrive these, a few at a time; of each is told `recorded`, `pending` or a code. Raises RedriveFailed."""
        waiting = iter(events)

        async def work() -> None:
            for event in waiting:  # shared: each is redriven by one of the workers
                told(await self._redriven(event))

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())

    async def _redriven(self, event: RejectedEvent) -> str:
        response = await self._request("POST", f"/rejected-events/{event.id}/redrive", {})
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            _body(response)
        return _OUTCOMES.get(httpx.codes(response.status_code)) or str(response.json()["code"])

    async def _request(self, method: str, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            pause = _RETRY_PAUSE_SECONDS
            try:
                response = await self._client.request(method, path, params=parameters)
                if response.status_code not in _LATER:
                    return response
                problem, pause = response.text, float(response.headers.get("retry-after", pause))
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() + pause > deadline:
                raise RedriveFailed(
                    f"The gateway at {self._client.base_url.host} can't be used ({problem}): start it, or check --url."
                )
            await asyncio.sleep(pause)


def _body(response: httpx.Response) -> Any:
    if response.status_code != httpx.codes.OK:
        raise RedriveFailed(f"The gateway answered {response.status_code}: {_sentence(response)}")
    return response.json()


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return "that is no answer of Tally's; check --url."
