"""Servers come from tests/conftest.py."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.migrate import migrate


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection to a database with all tables."""
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
