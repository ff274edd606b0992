"""Servers come from tests/conftest.py."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.migrate import migrate
from tests.integration.closer_world import World, open_world


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection to a database with all tables."""
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_world(kafka_bootstrap, database_url, database) as opened:
        yield opened
