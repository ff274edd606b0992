"""Everything on this machine: Kafka and Postgres (or yours), and the parts of Tally under one supervisor."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import asyncpg
import httpx

from aggregator.engine.halt import HaltReason
from deploy.key_file import ensure_key_file
from deploy.local.directory import Lock, hold_data_directory
from deploy.local.kafka import LocalKafka
from deploy.local.ports import LOOPBACK, free_port, usable_port
from deploy.local.postgres import LocalPostgres
from deploy.local.process import Command
from deploy.local.supervisor import Supervisor
from deploy.migrate import migrate
from deploy.topics import ensure_topics
from ingest.catalog.comparing import CatalogAhead
from schemas.settings import Settings

GRACE_SECONDS = 5
"""So that a person sees an invoice soon; in production the default is an hour."""

EXIT_REASONS = {
    **{reason.code: reason.name.lower().replace("_", " ") for reason in HaltReason},
    CatalogAhead.exit_code: "catalog ahead of postgres",
}


@dataclass(frozen=True)
class StackOptions:
    """What `tally up` can be told. Ports 0: any free one; `kafka`, `database_url`: servers that exist."""

    data: Path
    http_port: int = 0
    kafka_port: int = 0
    postgres_port: int = 0
    workers: int = 1
    partitions: int = 8
    grace_seconds: int = GRACE_SECONDS
    kafka: str | None = None
    database_url: str | None = None
    only_gateway: bool = False
    """Without aggregator, closer, projector and insights: to measure the gateway by itself."""
    to_measure: bool = False
    """With a broker that is slow to start and quick afterwards."""


class Stack:
    """All parts, started in an order in which none waits for a later one, and stopped in the reverse."""

    def __init__(self, options: StackOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._supervisor = Supervisor(say)
        self._lock: Lock | None = None
        self.http = ""
        self.kafka = options.kafka or ""
        self.database_url = options.database_url or ""
        self.api_key = ""
        self.metrics: dict[str, str] = {}
        """Where each part serves its metrics."""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def ready_line(self) -> str:
        """What `tally up` prints when all of it works (contract section 5)."""
        return "ready " + json.dumps(
            {"http": self.http, "kafka": self.kafka, "postgres": self.database_url, "apiKey": self.api_key}
        )

    def pid(self, name: str) -> int | None:
        """The process id of a part; None while it is being restarted."""
        return self._supervisor.pid(name)

    async def stop(self) -> None:
        """Stop all in good order; nothing is lost."""
        await self._supervisor.stop()
        if self._lock is not None:
            self._lock.release()

    async def _start(self) -> None:
        options = self._options
        self._lock = hold_data_directory(options.data)
        http_port = usable_port(options.http_port, "the gateway", "--http-port")
        await self._start_servers()
        settings = Settings(kafka=self.kafka, database_url=self.database_url, partitions=options.partitions)
        if created := await ensure_topics(settings):
            self._say(f"created {len(created)} topics")
        if applied := await migrate(self.database_url):
            self._say(f"applied {len(applied)} migrations")
        self.api_key = await _api_key(self.database_url, options.data / "api-key")
        if not options.only_gateway:
            for part in ("projector", "closer"):
                await self._start_part(part, part, {})
            await self._start_part("insights", "insights", {}, is_awaited=False)  # nothing depends on them
            for worker in range(1, options.workers + 1):
                await self._start_worker(worker)
        self.http = f"http://{LOOPBACK}:{http_port}"
        await self._start_part("gateway", "gateway", {"TALLY_HTTP_PORT": str(http_port)}, self.http)

    async def _start_servers(self) -> None:
        options = self._options
        if not self.kafka:
            self._say("starting Kafka")
            kafka = LocalKafka(options.data, options.kafka_port, to_measure=options.to_measure)
            await self._supervisor.start(await kafka.prepare())
            self.kafka = kafka.bootstrap
        if not self.database_url:
            self._say("starting Postgres")
            postgres = LocalPostgres(options.data, options.postgres_port)
            await self._supervisor.start(await postgres.prepare())
            self.database_url = postgres.dsn

    async def _start_worker(self, number: int) -> None:
        name = "aggregator" if number == 1 else f"aggregator-{number}"
        own = {
            "TALLY_STATE_DIR": str(self._options.data / "state" / name),
            "TALLY_GRACE_SECONDS": str(self._options.grace_seconds),
        }
        await self._start_part(name, "aggregator", own)

    async def _start_part(
        self, name: str, part: str, own: dict[str, str], url: str | None = None, *, is_awaited: bool = True
    ) -> None:
        self._say(f"starting {name}")
        metrics_port = free_port()
        url = url or f"http://{LOOPBACK}:{metrics_port}"
        self.metrics[name] = f"{url}/metrics"
        environment = {
            **os.environ,
            "TALLY_KAFKA": self.kafka,
            "TALLY_DATABASE_URL": self.database_url,
            "TALLY_METRICS_PORT": str(metrics_port),
            **own,
        }

        async def ready() -> bool:
            return await answers(f"{url}/health/ready")

        await self._supervisor.start(
            Command(
                name=name,
                argv=(sys.executable, "-m", "deploy", part),
                env=environment,
                log=self._options.data / "logs" / f"{name}.log",
                ready=ready if is_awaited else None,
                exit_reasons=EXIT_REASONS,
            )
        )


async def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        async with httpx.AsyncClient(timeout=2.0, verify=False) as client:  # noqa: S501 - loopback, no TLS at all
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


async def _api_key(database_url: str, file: Path) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        return await ensure_key_file(connection, file, "tally up")
    finally:
        await connection.close()
