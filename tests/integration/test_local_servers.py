"""The embedded Kafka and Postgres, started for real: what is in them survives, and what is wrong is said in words."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.errors import StartError
from deploy.local.directory import FORMAT
from deploy.local.kafka import LocalKafka
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import LocalPostgres

REPOSITORY = Path(__file__).parents[2]
TOPIC = "usage"
Server = TypeVar("Server", LocalKafka, LocalPostgres)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=2, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, value: bytes) -> None:
    """In a transaction, compressed: the codec's native library and the transaction log are part of what must work."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="test", compression_type="zstd")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(TOPIC, value, partition=0)
    finally:
        await producer.stop()


async def consume(bootstrap: str, count: int) -> list[tuple[bytes, int]]:
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        records = [await consumer.getone() for _ in range(count)]
        return [(record.value, record.timestamp_type) for record in records]
    finally:
        await consumer.stop()


async def test_kafka_keeps_its_records_over_a_restart_on_another_port_and_over_a_kill(tmp_path: Path) -> None:
    log_append_time = 1
    kafka = LocalKafka(tmp_path)
    async with running(kafka):
        await create_topic(kafka.bootstrap)
        await produce(kafka.bootstrap, b"first")

    again = LocalKafka(tmp_path)
    async with running(again):
        assert again.bootstrap != kafka.bootstrap
        assert await consume(again.bootstrap, 1) == [(b"first", log_append_time)]
        await produce(again.bootstrap, b"second")
        os.kill(again.pid, signal.SIGKILL)

    async with running(LocalKafka(tmp_path)) as after_kill:
        assert await consume(after_kill.bootstrap, 2) == [(b"first", log_append_time), (b"second", log_append_time)]


async def test_postgres_keeps_its_rows_over_a_restart_and_over_a_kill(tmp_path: Path) -> None:
    postgres = LocalPostgres(tmp_path)
    async with running(postgres):
        await execute(postgres.dsn, "CREATE TABLE invoices (amount numeric)", "INSERT INTO invoices VALUES (1.50)")

    async with running(LocalPostgres(tmp_path)) as again:
        assert await sum_of_invoices(again.dsn) == "1.50"
        await execute(again.dsn, "INSERT INTO invoices VALUES (2.25)")
        os.kill(again.pid, signal.SIGKILL)

    async with running(LocalPostgres(tmp_path)) as after_kill:
        assert await sum_of_invoices(after_kill.dsn) == "3.75"


async def test_postgres_is_safe_and_durable(tmp_path: Path) -> None:
    async with running(LocalPostgres(tmp_path)) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", [*SAFE_SETTINGS])
        await connection.close()
        assert {row["name"]: row["setting"] for row in rows} == SAFE_SETTINGS
        password = (tmp_path / "postgres" / "password").read_text()
        assert (tmp_path / "postgres" / "password").stat().st_mode & 0o077 == 0
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn.replace(password, "guess"))


SAFE_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "server_encoding": "UTF8",
    "TimeZone": "UTC",
}


async def execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def sum_of_invoices(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    total = await connection.fetchval("SELECT sum(amount) FROM invoices")
    await connection.close()
    return str(total)


async def test_a_second_start_on_the_same_directory_is_refused_at_once(tmp_path: Path) -> None:
    async with running(LocalPostgres(tmp_path)):
        second = LocalPostgres(tmp_path)
        with pytest.raises(StartError, match=f"{tmp_path} is in use by another Tally: stop that one"):
            await second.start()


async def test_a_server_dies_with_a_tally_that_is_killed_and_the_next_one_waits_for_it(tmp_path: Path) -> None:
    code = """
import asyncio, signal, sys
from pathlib import Path
from deploy.local.postgres import LocalPostgres
asyncio.run(LocalPostgres(Path(sys.argv[1])).start())
print("started", flush=True)
signal.pause()
"""
    tally = subprocess.Popen(  # noqa: ASYNC220 - nothing else is to run meanwhile
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    with tally:
        assert tally.stdout
        assert tally.stdout.readline() == b"started\n"
        tally.kill()
    async with running(LocalPostgres(tmp_path)) as postgres:
        await execute(postgres.dsn, "SELECT 1")


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (LocalKafka, "Port {port} for Kafka is taken: stop what listens there, or choose another with --kafka-port."),
        (
            LocalPostgres,
            "Port {port} for PostgreSQL is taken: stop what listens there, or choose another with --postgres-port.",
        ),
    ],
)
async def test_a_taken_port_is_told(
    tmp_path: Path, server: type[LocalKafka] | type[LocalPostgres], sentence: str
) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as failure:
            await server(tmp_path, port).start()
    assert str(failure.value) == sentence.format(port=port)


@pytest.mark.parametrize("server", [LocalKafka, LocalPostgres])
async def test_data_of_another_version_is_refused(
    tmp_path: Path, server: type[LocalKafka] | type[LocalPostgres]
) -> None:
    (tmp_path / "VERSION").write_text(json.dumps(FORMAT | {"PostgreSQL": "17", "Kafka": "3.9"}))
    with pytest.raises(StartError, match="start it with the Tally that wrote it, or choose another directory"):
        await server(tmp_path).start()


async def test_a_server_that_dies_at_its_start_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    async with running(LocalPostgres(tmp_path)):
        pass
    (tmp_path / "postgres" / "cluster" / "postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(StartError) as failure:
        await LocalPostgres(tmp_path).start()
    assert "postgres exited with code 1 while starting" in str(failure.value)
    assert "FATAL" in str(failure.value)
    assert f"see {tmp_path / 'logs' / 'postgres.log'}." in str(failure.value)


async def test_a_broker_that_cannot_read_its_data_says_why(tmp_path: Path) -> None:
    async with running(LocalKafka(tmp_path)):
        pass
    (tmp_path / "kafka" / "log" / "meta.properties").write_text("version=1\n")
    with pytest.raises(StartError) as failure:
        await LocalKafka(tmp_path).start()
    assert "kafka exited with code 1 while starting" in str(failure.value)
    assert "ERROR" in str(failure.value)


async def test_without_a_network_the_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jgo.conf").write_text(f"[repositories]\ncentral = http://{LOOPBACK}:1/nothing-listens-here\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    with pytest.raises(
        StartError, match=r"Apache Kafka could not be fetched: no repository gave .* Connect this machine"
    ):
        await LocalKafka(tmp_path / "data", cache=tmp_path / "cache").start()
    assert not list((tmp_path / "cache").rglob("*.jar"))
