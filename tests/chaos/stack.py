"""A whole Tally on this machine whose processes can be killed, frozen, taken away and put back at any moment.

Each process has a supervisor of its own, which restarts it on any exit, as an operator's would. All of them die with
the process that made the stack, frozen ones too.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.kafka import LocalKafka
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import LocalPostgres
from deploy.local.process import Command
from deploy.local.stack import EXIT_REASONS
from deploy.migrate import migrate
from deploy.target import Target
from deploy.topics import ensure_topics
from ingest.keys import Scope, create_key
from schemas.settings import Settings
from tests.chaos.parts import READY_SECONDS, Part, Said, now_ms

REPOSITORY = Path(__file__).parents[2]

KAFKA, POSTGRES, GATEWAY, CLOSER, PROJECTOR = "kafka", "postgres", "gateway", "closer", "projector"
WORKER = "aggregator"

Asked = TypeVar("Asked")
Seen = TypeVar("Seen")
OPENED_SECONDS = 15.0

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass
class ChaosStack:
    """The processes, by name: kafka, postgres, gateway, projector, closer, worker-1, worker-2, ..."""

    directory: Path
    partitions: int
    environment: dict[str, str]
    """What all parts of Tally get beside where Kafka and Postgres are."""
    target: Target = field(default_factory=lambda: Target("", "", "", ""))
    said: list[Said] = field(default_factory=list)
    _parts: dict[str, Part] = field(default_factory=dict)
    _metrics: dict[str, str] = field(default_factory=dict)
    _workers_made: int = 0

    @property
    def settings(self) -> Settings:
        """Where the topics are."""
        return Settings(kafka=self.target.kafka, database_url=self.target.database_url, partitions=self.partitions)

    def names(self, kind: str | None = None) -> list[str]:
        """The parts that are up: all, or those of a kind (WORKER, CLOSER, ...)."""
        return [name for name, part in self._parts.items() if part.is_up and kind in (None, part.kind)]

    @property
    def workers(self) -> list[str]:
        """The workers that are up."""
        return self.names(WORKER)

    @staticmethod
    def kind_of(name: str) -> str:
        """What kind of process a part is or was, by its name."""
        return WORKER if name.startswith("worker-") else name.partition("-")[0]

    def pid(self, name: str) -> int | None:
        """The process id of a part; None while it restarts or is down."""
        return self._parts[name].pid

    async def running_pid(self, name: str) -> int:
        """The process id of a part, once it has one."""
        async with asyncio.timeout(READY_SECONDS):
            while (pid := self.pid(name)) is None:  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.01)
        return pid

    async def answering(self, name: str) -> None:
        """Return once a part says that it is ready."""
        await self._parts[name].answering()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int | None:
        """Send a signal to a part; returns its process id, None where it was not running."""
        return self._parts[name].kill(number)

    def freeze(self, name: str) -> int | None:
        """Stop a part without its knowledge; returns its process id, None where it was not running."""
        return self._parts[name].freeze()

    def thaw(self, name: str) -> None:
        """Let a frozen part go on."""
        self._parts[name].thaw()

    async def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Take a part down and keep it down: in good order, or with SIGKILL."""
        await self._parts[name].stop(number)

    async def start(
        self, name: str, *, crash: str | None = None, environment: Mapping[str, str] = NOTHING, wait: bool = True
    ) -> Path:
        """Put a part up that is down. With `crash` (POINT:N of tests.chaos.crashing) its first run ends there.

        Returns the file that appears when the crash point is reached. Without `wait` it may not be ready yet.
        """
        part = self._parts[name]
        mark = self.directory / "crashes" / f"{name}-{now_ms()}"
        command = part.command
        if command.env is not None:
            command = replace(command, env={**command.env, **environment})
        if crash is not None:
            mark.parent.mkdir(exist_ok=True)
            argv = (sys.executable, "-m", "tests.chaos.crashing", crash, "--mark", str(mark), "--", part.kind)
            command = replace(command, argv=argv)
        await part.start(command, wait=wait)
        return mark

    async def remove(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Take a part away for good; its state directory and its log stay."""
        await self.stop(name, number)
        del self._parts[name]

    async def add_worker(
        self, *, crash: str | None = None, environment: Mapping[str, str] = NOTHING, wait: bool = True
    ) -> str:
        """One more worker; returns its name."""
        self._workers_made += 1
        name = f"worker-{self._workers_made}"
        self._add(name, WORKER, {"TALLY_STATE_DIR": str(self.state_directory(name)), **environment})
        await self.start(name, crash=crash, wait=wait)
        return name

    async def add_closer(self, name: str, *, wait: bool = True) -> None:
        """One more closer, which waits for the lease of the first."""
        self._add(name, CLOSER, NOTHING)
        await self.start(name, wait=wait)

    def state_directory(self, worker: str) -> Path:
        """Where a worker keeps its RocksDB."""
        return self.directory / "state" / worker

    def log_file(self, name: str) -> Path:
        """What a part has logged in all its runs."""
        return self.directory / "logs" / f"{name}.log"

    def logs(self, kind: str) -> dict[str, str]:
        """What all parts of a kind have logged, those that were taken away too, by name."""
        prefix = "worker" if kind == WORKER else kind
        files = sorted((self.directory / "logs").glob(f"{prefix}*.log"))
        return {file.stem: file.read_text(errors="replace") for file in files}

    async def metrics(self, name: str) -> dict[str, float]:
        """The metrics of a part as `name{label="value"}` -> value; empty where it does not answer."""
        try:
            async with httpx.AsyncClient(timeout=2.0) as client:
                text = (await client.get(self._metrics[name])).text
        except httpx.HTTPError:
            return {}
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = float(sample.value)
        return found

    async def partitions_of(self, worker: str) -> set[int]:
        """The partitions that a worker owns now."""
        prefix, suffix = 'tally_position_offset{partition="', '"}'
        shown = await self.metrics(worker)
        return {int(key.removeprefix(prefix).removesuffix(suffix)) for key in shown if key.startswith(prefix)}

    async def open(self, workers: int, kafka: str | None, database_url: str | None) -> None:
        """Start everything."""
        if kafka is None:
            broker = LocalKafka(self.directory)
            await self._start_server(KAFKA, await broker.prepare())
            kafka = broker.bootstrap
        if database_url is None:
            postgres = LocalPostgres(self.directory)
            await self._start_server(POSTGRES, await postgres.prepare())
            database_url = postgres.dsn
        await ensure_topics(Settings(kafka=kafka, database_url=database_url, partitions=self.partitions))
        await migrate(database_url)
        port = free_port()
        http = f"http://{LOOPBACK}:{port}"
        self.target = Target(http, kafka, database_url, await _new_key(database_url))
        self._add(GATEWAY, GATEWAY, {"TALLY_HTTP_PORT": str(port)}, http)
        self._add(CLOSER, CLOSER, NOTHING)
        self._add(PROJECTOR, PROJECTOR, NOTHING)
        async with asyncio.TaskGroup() as group:
            for name in (GATEWAY, CLOSER, PROJECTOR):
                group.create_task(self.start(name))
            for _ in range(workers):
                group.create_task(self.add_worker())

    async def close(self) -> None:
        """SIGKILL everything; the directory stays."""
        for name in list(self._parts):
            await self.stop(name, signal.SIGKILL)

    def _note(self, sentence: str) -> None:
        self.said.append(Said(now_ms(), sentence))

    async def _start_server(self, name: str, command: Command) -> None:
        self._parts[name] = Part(command, name, self._note)
        await self.start(name)

    def _add(self, name: str, kind: str, own: Mapping[str, str], url: str | None = None) -> None:
        port = free_port()
        self._metrics[name] = f"{url or f'http://{LOOPBACK}:{port}'}/metrics"
        watched = f"{url}/health/ready" if url else self._metrics[name]

        async def ready() -> bool:
            return await _answers(watched)

        environment = {
            **os.environ,
            "TALLY_KAFKA": self.target.kafka,
            "TALLY_DATABASE_URL": self.target.database_url,
            "TALLY_PARTITIONS": str(self.partitions),
            "TALLY_METRICS_PORT": str(port),
            **self.environment,
            **own,
        }
        command = Command(
            name=name,
            argv=(sys.executable, "-m", "deploy", kind),
            env=environment,
            cwd=REPOSITORY,
            log=self.log_file(name),
            ready=ready,
            exit_reasons=EXIT_REASONS,
        )
        self._parts[name] = Part(command, kind, self._note)


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


async def _new_key(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        _, key = await create_key(connection, "chaos", list(Scope))
    finally:
        await connection.close()
    return key


@asynccontextmanager
async def chaos_stack(
    directory: Path,
    *,
    workers: int = 2,
    partitions: int = 4,
    grace_seconds: int = 2,
    kafka: str | None = None,
    database_url: str | None = None,
    environment: Mapping[str, str] = NOTHING,
) -> AsyncIterator[ChaosStack]:
    """A Tally in an absolute directory, with its own Kafka and Postgres or on those that are given."""
    common = {"TALLY_GRACE_SECONDS": str(grace_seconds), "TALLY_CLOSER_LEASE_SECONDS": "2", **environment}
    stack = ChaosStack(directory, partitions, common)
    try:
        await stack.open(workers, kafka, database_url)
        yield stack
    finally:
        await stack.close()


async def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; returns whether it did in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.05)
    return holds()


async def eventually(ask: Callable[[Asked], Awaitable[Seen]], whom: Asked, is_enough: Callable[[Seen], bool]) -> Seen:
    """What is seen once it is enough, or it has taken too long."""
    end = time.monotonic() + OPENED_SECONDS
    while not is_enough(seen := await ask(whom)) and time.monotonic() < end:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.2)
    return seen
