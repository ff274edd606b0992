"""A gateway with a worker behind it, on real servers: what is sent over HTTP is decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aggregator.projector.job import Projector
from aggregator.settings import ProjectorSettings
from tests.integration.catalog_world import set_up
from tests.integration.running_gateway import RunningGateway, running_gateway, until
from tests.integration.stream_world import working
from tests.integration.worker import Deployment, deployment

USAGE: dict[str, Any] = {
    "serviceId": "svc",
    "subscriptionId": "sub",
    "userId": "user",
    "eventKey": "tokens#1",
    "quantity": "1.5",
    "occurredAt": "2026-02-03T04:05:06.789Z",
}


@dataclass
class DecidingWorld:
    """The gateway, and the deployment that it belongs to."""

    gateway: RunningGateway
    tally: Deployment

    async def send(self, prefer: str | None = "wait=30", path: str = "/usage-events", **changes: Any) -> httpx.Response:
        """POST USAGE with changes."""
        return await self.post(path, {**USAGE, **changes}, prefer)

    async def post(self, path: str, body: Any, prefer: str | None = "wait=30") -> httpx.Response:
        """POST with the header Prefer."""
        headers = {"authorization": f"Bearer {self.gateway.key}"} | ({} if prefer is None else {"prefer": prefer})
        return await self.gateway.client.post(f"/api/v1{path}", json=body, headers=headers)

    @asynccontextmanager
    async def projecting(self) -> AsyncIterator[None]:
        """What was decided is copied to Postgres meanwhile."""
        fields = {**self.tally.settings.model_dump(), "database_url": self.gateway.settings.database_url}
        async with working(Projector(ProjectorSettings.model_validate(fields)).run):
            yield

    async def can_wait(self) -> None:
        """Return once the gateway waits for verdicts."""

        async def has_verdict() -> bool:
            return (await self.send(eventKey="warm up", userId="nobody")).status_code == 400

        await until(has_verdict)


@asynccontextmanager
async def deciding(kafka: str, database_url: str, prefix: str, directory: Path, **settings: Any) -> AsyncIterator[Any]:
    """A world with the catalog of catalog_world, and no worker yet."""
    async with (
        deployment(kafka, prefix, directory / "state", partitions=2) as tally,
        running_gateway(kafka, database_url, prefix, **settings) as gateway,
    ):
        await set_up(gateway, billingAnchor="2026-01-01T00:00:00Z")
        yield DecidingWorld(gateway, tally)
