"""Real servers for the tests: yours (TALLY_KAFKA, TALLY_DATABASE_URL), else Docker's, else the embedded ones."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.cancelled_starts import close_connections_of_cancelled_starts
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.responses import read_responses_in_place
from tests.containers.images import POSTGRES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two processes that share the tests (pytest-xdist), one runs a file of slow tests whole, and all that
    look at the world of the audit, which takes long to make."""
    for item in items:
        if {"acceptance", "bench", "integration"} & set(item.path.parts):
            name = item.path.stem
            item.add_marker(pytest.mark.xdist_group("audit" if name.startswith("test_audit") else name))


# As in each process of Tally's: gateways that run in a test's process are stopped while they connect.
close_connections_of_cancelled_starts()
read_responses_in_place()

# What containers publish is on this machine's loopback interface, though testcontainers may take it for a container.
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")


@pytest.fixture(scope="session")
def has_docker() -> bool:
    """Whether an engine answers here. Asked for by a process: docker's client leaves its socket open when none does."""
    probe = "import docker; docker.from_env().ping()"
    return (
        subprocess.run([sys.executable, "-W", "ignore", "-c", probe], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="session")
def kafka_bootstrap(has_docker: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker, one for the whole session; tests keep apart by TALLY_TOPIC_PREFIX or topic names of their own."""
    if given := os.environ.get("TALLY_KAFKA"):
        yield given
    elif has_docker:
        from tests.containers.kafka import ApacheKafkaContainer

        with ApacheKafkaContainer() as container:
            yield container.bootstrap
    else:
        kafka = LocalKafka(tmp_path_factory.mktemp("kafka"))
        asyncio.run(kafka.start())
        yield kafka.bootstrap
        asyncio.run(kafka.stop())


@pytest.fixture(scope="session")
def postgres_dsn(has_docker: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server, one for the whole session."""
    if given := os.environ.get("TALLY_DATABASE_URL"):
        yield given
    elif has_docker:
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(POSTGRES, driver=None) as container:
            yield container.get_connection_url()
    else:
        postgres = LocalPostgres(tmp_path_factory.mktemp("postgres"))
        asyncio.run(postgres.start())
        yield postgres.dsn
        asyncio.run(postgres.stop())


@pytest.fixture
def database_url(postgres_dsn: str) -> Iterator[str]:
    """An empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(_execute(postgres_dsn, f'CREATE DATABASE "{name}"'))
    yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    asyncio.run(_execute(postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that makes a deployment of its own on the shared broker."""
    return f"t{uuid.uuid4().hex[:10]}-"


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
