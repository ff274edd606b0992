"""`tally setup`: once, and again, and before anything is there to set up."""

import stat
from pathlib import Path

import asyncpg

from deploy.migrate import migrations
from ingest.keys import bearer_hash, list_keys, revoke_key
from schemas.topics import TOPICS
from tests.integration.catalog_world import World


async def key_hashes(database_url: str) -> set[bytes]:
    connection = await asyncpg.connect(database_url)
    try:
        return {row["hash"] for row in await connection.fetch("SELECT hash FROM api_keys WHERE revoked_at IS NULL")}
    finally:
        await connection.close()


async def revoke_all(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for entry in await list_keys(connection):
            await revoke_key(connection, entry.id)
    finally:
        await connection.close()


async def test_setup_makes_all_that_the_parts_need_and_again_changes_nothing(
    kafka_bootstrap: str, topic_prefix: str, postgres_dsn: str, database_url: str, tmp_path: Path
) -> None:
    world = World(kafka_bootstrap, topic_prefix, database_url, postgres_dsn)
    file = tmp_path / "api-key"
    flags = ("--partitions", "1", "--key-file", str(file))
    code, out, errors = await world.tally("setup", *flags)
    assert (code, errors) == (0, "")
    assert out.splitlines() == [
        f"created {len(TOPICS)} topics",
        f"applied {len(migrations())} migrations",
        f"a key is in {file}",
    ]
    key = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key not in out
    assert await key_hashes(database_url) == {bearer_hash(f"Bearer {key}".encode())}

    assert (await world.tally("setup", *flags))[0] == 0
    assert file.read_text().strip() == key
    assert len(await key_hashes(database_url)) == 1

    await revoke_all(database_url)
    assert (await world.tally("setup", *flags))[0] == 0
    assert await key_hashes(database_url) == {bearer_hash(f"Bearer {file.read_text().strip()}".encode())}

    code, _, errors = await world.tally("setup", "--partitions", "1", "--key-file", str(tmp_path / "no" / "key"))
    assert code == 1
    assert errors.startswith(f"tally setup: The key file {tmp_path}/no/key can't be written (")
    assert len(await key_hashes(database_url)) == 1, "a key that nobody has is no key"
