"""What real processes answer to /health/ready, and what becomes of one that hangs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from aggregator.closer.job import Closer
from aggregator.engine.halt import HaltReason
from aggregator.projector.job import Projector
from aggregator.settings import CloserSettings, ProjectorSettings
from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_port
from deploy.local.process import Command
from deploy.local.stack import EXIT_REASONS
from deploy.local.supervisor import Supervisor
from schemas.topics import Topic
from tests.integration.halts_world import HOME
from tests.integration.stream_world import eventually, working
from tests.integration.test_closer_outages import Wire
from tests.integration.test_worker import CATALOG, KEY, event
from tests.integration.worker import Deployment, deployment

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state", partitions=1) as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


class Probe:
    """Whoever watches a part: it asks /health/ready, again and again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=5, trust_env=False)

    async def reason(self) -> str | None:
        """Why the part is not ready, None where it is; "no answer" while it does not answer at all."""
        try:
            answer = await self._client.get("/health/ready")
        except httpx.HTTPError:
            return "no answer"
        return None if answer.status_code == 200 else str(answer.json()["error"])

    async def is_ready(self) -> bool:
        return await self.reason() is None

    def says(self, words: str) -> Callable[[], Awaitable[bool]]:
        async def said() -> bool:
            return words in (await self.reason() or "")

        return said

    async def get(self, path: str) -> httpx.Response:
        return await self._client.get(path)

    async def metric(self, name: str) -> dict[str, float]:
        """A metric's values by partition."""
        lines = (await self.get("/metrics")).text.splitlines()
        values = (line.rpartition(" ") for line in lines if line.startswith(f"{name}{{"))
        return {labels.partition('"')[2].partition('"')[0]: float(value) for labels, _, value in values}


@asynccontextmanager
async def supervised(data: Path, name: str, module: str, environment: dict[str, str]) -> AsyncIterator[tuple[Any, ...]]:
    """A part under the supervisor of `tally up`: the supervisor, its probe and the sentences that it said."""
    said: list[str] = []
    supervisor, probe = Supervisor(said.append), Probe()
    try:
        await supervisor.start(
            Command(
                name=name,
                argv=(sys.executable, "-m", module, name),
                env={**environment, "TALLY_METRICS_PORT": str(probe.port)},
                cwd=REPOSITORY,
                log=data / "log",
                ready=probe.is_ready,
                exit_reasons=EXIT_REASONS,
            )
        )
        yield supervisor, probe, said
    finally:
        await supervisor.stop()


async def test_workers_are_ready_also_one_without_partitions_and_show_how_far_they_are(tally: Deployment) -> None:
    first, standby = Probe(), Probe()
    async with tally.worker(TALLY_METRICS_PORT=str(first.port)):
        await eventually(first.is_ready)
        state_dir = str(tally.state_dir / "another")
        async with tally.worker(TALLY_METRICS_PORT=str(standby.port), TALLY_STATE_DIR=state_dir):
            await eventually(standby.is_ready)
            await eventually(first.is_ready)
            await tally.put(KEY, event(), HOME)
            await tally.decided(1)

            async def one_has_no_partition() -> bool:
                shown = [await probe.metric("tally_position_offset") for probe in (first, standby)]
                return sorted(map(len, shown)) == [0, 1]

            await eventually(one_has_no_partition)
        await eventually(first.is_ready)

        async def is_shown() -> bool:
            lag, position = await first.metric("tally_lag_records"), await first.metric("tally_position_offset")
            return (lag, position) == ({"0": 0}, {"0": 1})

        await eventually(is_shown)
        assert (await first.get("/health/live")).json() == {"status": "live"}


async def test_a_worker_that_gets_on_with_nothing_is_not_ready_until_it_does(
    tally: Deployment, topic_prefix: str
) -> None:
    """A producer that never ends its transaction holds back all that comes after it."""
    probe = Probe()
    foreign = AIOKafkaProducer(bootstrap_servers=tally.settings.kafka, transactional_id=f"{topic_prefix}foreign")
    await foreign.start()
    try:
        async with tally.worker(TALLY_METRICS_PORT=str(probe.port), TALLY_STALLED_SECONDS="1"):
            await eventually(probe.is_ready)
            await foreign.begin_transaction()
            await foreign.send_and_wait(tally.settings.topic(Topic.USAGE_EVENTS), b"x", key=KEY, partition=HOME)
            await tally.put(KEY, event(), HOME)
            await eventually(probe.says(f"Partition {HOME} has 2 records to decide, and none was decided for"))
            assert (await probe.metric("tally_lag_records"))[str(HOME)] == 2
            assert (await probe.get("/health/live")).status_code == 200
            await foreign.abort_transaction()
            await tally.decided(1)
            await eventually(probe.is_ready)
    finally:
        await foreign.stop()


async def test_a_worker_whose_loop_hangs_still_answers_and_is_ended_and_restarted(
    tally: Deployment, tmp_path: Path
) -> None:
    environment = tally.worker_environment(TALLY_WATCHDOG_SECONDS="2")
    async with supervised(tmp_path, "aggregator", "tests.integration.hanging", environment) as (
        supervisor,
        probe,
        said,
    ):
        hung = supervisor.pid("aggregator")
        os.kill(hung, signal.SIGUSR1)
        assert (await probe.get("/health/live")).status_code == 200

        async def is_another() -> bool:
            return supervisor.pid("aggregator") not in (None, hung)

        await eventually(is_another)
        await eventually(probe.says("The worker has not joined its group yet."))
    assert said == [f"aggregator exited with code {HaltReason.LOOP_STUCK.code} (loop stuck), restarting in 0.2 s"]
    assert "in _hang" in (tmp_path / "log").read_text()


async def test_a_worker_one_of_whose_tasks_fails_exits(tally: Deployment) -> None:
    probe = Probe()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.hanging", "--log-level", "error", "aggregator"),
        env=tally.worker_environment(TALLY_METRICS_PORT=str(probe.port)),
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    await eventually(probe.is_ready)
    worker.send_signal(signal.SIGUSR2)
    async with asyncio.timeout(30):
        _, words = await worker.communicate()
    assert worker.returncode == HaltReason.PARTITION_FAILED.code
    assert "the watch fails" in words.decode()


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("opening", f"Kafka did not let partition {HOME} begin its transactions within 3 s"),
        ("release", f"Partition {HOME} could not be given up within 3 s"),
    ],
)
async def test_a_worker_that_can_not_open_or_give_up_a_partition_exits(tally: Deployment, step: str, says: str) -> None:
    """It would own nothing, and look as if it had nothing to do."""
    probe = Probe()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.stuck", step, "--log-level", "error", "aggregator"),
        env=tally.worker_environment(TALLY_METRICS_PORT=str(probe.port), TALLY_TRANSACTION_TIMEOUT_SECONDS="1"),
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    if step == "release":
        await eventually(probe.is_ready)
        worker.terminate()
    async with asyncio.timeout(30):
        _, words = await worker.communicate()
    assert worker.returncode == HaltReason.PARTITION_STUCK.code
    assert says in words.decode()


# The closer and the projector


@pytest.fixture(params=["closer", "projector"])
def part(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param  # type: ignore[no-any-return]


def made(part: str, **settings: Any) -> Closer | Projector:
    if part == "closer":
        return Closer(CloserSettings.model_validate(settings))
    return Projector(ProjectorSettings.model_validate(settings))


async def test_without_postgres_a_part_is_not_ready_and_says_so(
    part: str, tally: Deployment, database_url: str, database: asyncpg.Connection
) -> None:
    wire = Wire(database_url)
    await wire.connect()
    settings = tally.settings
    running = made(part, kafka=settings.kafka, topic_prefix=settings.topic_prefix, database_url=wire.url)

    async def is_ready() -> bool:
        return running.availability.unready() == []

    async def is_not() -> bool:
        return f"Kafka or Postgres does not answer the {part}" in "".join(running.availability.unready())

    async with working(running.run):
        await eventually(is_ready)
        await wire.cut()
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", f"tally-{part}"
        )
        await eventually(is_not)
        await wire.connect()
        await eventually(is_ready)
    await wire.cut()


async def test_with_a_broker_that_is_frozen_no_part_is_ready(
    tmp_path: Path, database_url: str, database: asyncpg.Connection
) -> None:
    """A frozen broker refuses nothing, it is silent. What waits for it must not look as if there were nothing to do."""
    del database  # it is migrated
    broker, probe = LocalKafka(tmp_path / "kafka", heap_mib=256), Probe()
    await broker.start()
    try:
        async with deployment(broker.bootstrap, "", tmp_path / "state") as tally:
            projector = made("projector", kafka=broker.bootstrap, database_url=database_url, stalled_seconds=2)

            async def projector_is_ready() -> bool:
                return projector.availability.unready() == []

            async def projector_is_not() -> bool:
                return projector.availability.unready() != []

            worker = await tally.start_worker(TALLY_METRICS_PORT=str(probe.port), TALLY_STALLED_SECONDS="2")
            async with working(projector.run):
                await eventually(probe.is_ready)
                await eventually(projector_is_ready)
                os.kill(broker.pid, signal.SIGSTOP)
                await eventually(probe.says("The worker has not looked after itself for"))
                await eventually(projector_is_not)
                os.kill(broker.pid, signal.SIGCONT)
                await eventually(probe.is_ready)
                await eventually(projector_is_ready)
            worker.terminate()
            await worker.communicate()
            assert worker.returncode == 0
    finally:
        await broker.stop()
