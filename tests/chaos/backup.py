"""Postgres from an older copy: taken while it is down, and put back later over what has happened since."""

import asyncio
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx

from tests.chaos.clients import Clients
from tests.chaos.stack import POSTGRES, REPOSITORY, ChaosStack

INVOICES = "SELECT id, amount, digest FROM invoices"

Invoices = dict[UUID, tuple[Decimal, bytes]]
"""Amount and digest by id."""


class ClientsOfAKnownCatalog(Clients):
    """They send usage and leave the catalog alone: what Postgres was told of it after the copy would be lost."""

    async def _change_catalog(self, api: httpx.AsyncClient) -> None:
        return


async def back_up(stack: ChaosStack) -> Path:
    """Copy the data of Postgres, which is down meanwhile; returns where the copy is."""
    copy = stack.directory / "postgres-copy"
    await stack.stop(POSTGRES)
    _copy(_cluster(stack), copy)
    await stack.start(POSTGRES)
    return copy


async def restore(stack: ChaosStack, copy: Path) -> None:
    """Put the copy back in the place of what there is."""
    await stack.stop(POSTGRES)
    shutil.rmtree(_cluster(stack))
    _copy(copy, _cluster(stack))
    await stack.start(POSTGRES)


async def rebuild_catalog(stack: ChaosStack) -> None:
    """Do what an operator is told to do, once closer and projector have gone on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "catalog", "rebuild"),
        *("--kafka", stack.target.kafka, "--database-url", stack.target.database_url),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def invoices(stack: ChaosStack) -> Invoices:
    """All that are written."""
    connection = await asyncpg.connect(stack.target.database_url)
    try:
        return {row["id"]: (row["amount"], row["digest"]) for row in await connection.fetch(INVOICES)}
    finally:
        await connection.close()


def _cluster(stack: ChaosStack) -> Path:
    return stack.directory / "postgres" / "cluster"


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", source, target], check=True)  # with owners, unlike copytree
