"""A closer whose servers go away, and one that can not work."""

import asyncio
import os
import re
import signal
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest

from aggregator.closer.job import Closer, run
from aggregator.closer.lease import take_lease
from aggregator.settings import CloserSettings
from deploy.local.kafka import LocalKafka
from schemas.errors import OperatorError
from tests.integration.closer_world import (
    World,
    calls,
    open_world,
    period,
)
from tests.integration.stream_world import PATIENCE_SECONDS, eventually


async def test_connections_killed_again_and_again_cost_nothing(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(300))
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tally-closer'"
    killed = 0
    async with world.closer(closer_batch_records=5):
        for at_least in range(30, 270, 30):
            enough = f"SELECT count(*) >= {at_least} FROM invoices"
            await eventually(lambda enough=enough: world.database.fetchval(enough))  # type: ignore[misc]
            killed += await world.database.fetchval(kill)
        await world.stream.all_is_read()
    assert killed > 0
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(300)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(300,)]
    assert await world.holds() == []


class Wire:
    """Stands between a closer and Postgres. It can be cut, and it can swallow the answer to a COMMIT."""

    def __init__(self, database_url: str) -> None:
        self._url = urlsplit(database_url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self.commits_to_swallow = 0
        self.swallowed = 0

    @property
    def url(self) -> str:
        user = self._url.netloc.rpartition("@")[0]
        return urlunsplit(self._url._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._url.hostname, self._url.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, downstream, upstream))
                tasks.create_task(self._pass_on(upstream, writer, None))
        except* ConnectionError:
            pass
        finally:
            writer.close()
            downstream.close()

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, answers: asyncio.StreamReader | None
    ) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
            if answers is not None and b"COMMIT;" in data and self.commits_to_swallow:
                self.commits_to_swallow -= 1
                self.swallowed += 1
                raise ConnectionResetError
        raise ConnectionResetError


async def test_a_commit_whose_answer_is_lost_counts_once(world: World) -> None:
    wire = Wire(world.settings.database_url)
    await wire.connect()
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(30))
    wire.commits_to_swallow = 4
    await world.run_closer(database_url=wire.url, closer_batch_records=5)
    await wire.cut()
    assert wire.swallowed == 4
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(30)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(30,)]


async def test_a_database_that_is_away_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(world.settings.database_url)
    await wire.connect()
    await wire.cut()
    await world.close_periods([period("sub_1", calls(1))])

    async def is_reported() -> bool:
        return "does not answer the closer" in caplog.text

    async with world.closer(database_url=wire.url):
        await eventually(is_reported)
        await wire.connect()
        await world.stream.all_is_read()
    await wire.cut()
    assert caplog.text.count("does not answer the closer") == 1
    assert await world.amounts() == {("sub_1", 0): Decimal(2)}


async def test_a_broker_that_was_killed_is_waited_for(
    tmp_path: Path, database_url: str, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def is_reported() -> bool:
        return "does not answer the closer" in caplog.text

    broker = LocalKafka(tmp_path, heap_mib=256)
    await broker.start()
    try:
        async with open_world(broker.bootstrap, database_url, database) as world, world.closer():
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20))
            await world.stream.all_is_read()
            os.kill(broker.pid, signal.SIGKILL)
            await eventually(is_reported)
            await broker.stop()
            await broker.start()
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20, 40))
            await world.stream.all_is_read()
            assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(40)}
    finally:
        await broker.stop()


async def test_without_the_topic_it_says_to_run_tally_topics(world: World) -> None:
    with pytest.raises(OperatorError, match=r"no topic nowhere-closed-periods: run 'tally topics' first\.$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(world.settings.model_copy(update={"topic_prefix": "nowhere-"})).run(asyncio.Event())


async def test_without_the_tables_it_says_to_run_tally_migrate(kafka_bootstrap: str, database_url: str) -> None:
    settings = CloserSettings.model_validate({"kafka": kafka_bootstrap, "database_url": database_url})
    with pytest.raises(OperatorError, match="run 'tally migrate'"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(settings).run(asyncio.Event())


async def test_a_topic_made_anew_stops_it(world: World) -> None:
    await world.close_periods([period("sub_1", calls(1))])
    await world.run_closer()
    await world.database.execute("UPDATE stream_offsets SET next_offset = 1000")
    with pytest.raises(OperatorError, match="a topic made anew"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(world.settings).run(asyncio.Event())


async def test_sigterm_ends_the_process_and_lets_the_next_closer_write_at_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aggregator")
    await world.close_periods([period("sub_1", calls(1))])
    process = asyncio.create_task(run(world.settings.model_copy(update={"closer_lease_seconds": 3_600})))
    await world.stream.all_is_read()
    (url,) = re.findall(r"http://\S+/metrics", caplog.text)
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_shown() -> bool:
            shown = (await client.get(url)).text
            expected = "closer_up 1.0", "closer_lease_epoch 1.0", 'closer_lag_records{partition="0"} 0.0'
            return all(f"tally_{sample}" in shown for sample in expected)

        await eventually(is_shown)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await process
    assert await take_lease(world.database, "next", 60) is not None
