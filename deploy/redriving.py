"""Redriving over HTTP: which rejected events there are, and sending them on their way again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import httpx

from deploy.calling import Caller, body_of

PAGE: Final = 100
CONCURRENCY: Final = 8
_OUTCOMES: Final = {httpx.codes.CREATED: "recorded", httpx.codes.ACCEPTED: "pending"}


class RejectedEvent(NamedTuple):
    """What a redrive needs of a rejected event."""

    id: str
    code: str
    topic: str


async def matching(caller: Caller, filters: Mapping[str, str]) -> AsyncIterator[RejectedEvent]:
    """All rejected events that meet the filters, newest first. Raises CallFailed."""
    cursor: dict[str, str] = {}
    while True:
        page = await caller.get("/rejected-events", {**filters, "limit": str(PAGE), **cursor})
        for event in page["rejectedEvents"]:
            yield RejectedEvent(event["id"], event["code"], event["origin"]["topic"])
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


async def redrive(caller: Caller, events: Sequence[RejectedEvent], told: Callable[[str], None]) -> None:
    """Redrive these, a few at a time; of each is told `recorded`, `pending` or a code. Raises CallFailed."""
    waiting = iter(events)

    async def work() -> None:
        for event in waiting:  # shared: each is redriven by one of the workers
            told(await _redriven(caller, event))

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


async def _redriven(caller: Caller, event: RejectedEvent) -> str:
    response = await caller.request("POST", f"/rejected-events/{event.id}/redrive", {})
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        body_of(response)
    return _OUTCOMES.get(httpx.codes(response.status_code)) or str(response.json()["code"])
