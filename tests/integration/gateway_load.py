"""Clients that send usage to a gateway until it is gone, and their journal of what they were told."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.integration.test_worker import event

CLIENTS = 8
BATCH_EVENTS = 40


@dataclass
class Journal:
    """What became of each event of a load, by event key."""

    answered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)

    def note(self, key: str, answer: dict[str, Any]) -> None:
        """Take down the answer to one event, as it is in a batch."""
        if answer["status"] in (201, 202):
            self.answered.add(key)
        elif "unknown" in answer["error"]:
            self.unknown.add(key)
        else:
            assert answer["status"] == 503, answer
            self.refused.add(key)

    def assert_holds_of(self, logged: Counter[str]) -> None:
        """Whoever was told that an event is in finds it once; whoever was not, at the most once."""
        assert {key: logged[key] for key in self.answered} == dict.fromkeys(self.answered, 1)
        assert self.refused & set(logged) == set()
        assert max(logged.values()) == 1


class Load:
    """Clients that send one request after the other, single events and batches, until nobody listens any more."""

    def __init__(self, url: str, key: str) -> None:
        self.journal = Journal()
        self._url = url
        self._headers = {"authorization": f"Bearer {key}", "prefer": "respond-async"}
        self._number = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as clients:
            for client in range(CLIENTS):
                clients.create_task(self._client(is_batch=client % 4 == 0))

    async def _client(self, *, is_batch: bool) -> None:
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=30, trust_env=False) as client:
            while True:
                keys = [self._key() for _ in range(BATCH_EVENTS if is_batch else 1)]
                try:
                    await self._post(client, keys, is_batch=is_batch)
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    self.journal.unanswered.update(keys)

    async def _post(self, client: httpx.AsyncClient, keys: list[str], *, is_batch: bool) -> None:
        events = [json.loads(event(eventKey=key)) for key in keys]
        if not is_batch:
            answer = await client.post("/api/v1/usage-events", json=events[0])
            self.journal.note(keys[0], {"status": answer.status_code, **answer.json()})
            return
        answer = await client.post("/api/v1/usage-events/batch", json={"usageEvents": events})
        body = answer.json()
        each = body["results"] if answer.status_code == 207 else [{"status": answer.status_code, **body}] * len(keys)
        for key, result in zip(keys, each, strict=True):
            self.journal.note(key, result)

    def _key(self) -> str:
        self._number += 1
        return f"tokens#{self._number}"
