"""`tally setup`."""

import argparse
from pathlib import Path

from deploy.commands import up
from deploy.flags import add_flags, settings_of
from deploy.key_file import ensure_key_file
from deploy.migrate import connect, migrate
from deploy.topics import ensure_topics
from schemas.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "What a deployment needs before its parts can work: topics, tables and, if asked for, a first key. Run again,"
        " it changes nothing; run before Kafka and Postgres are up, it says so and is to be run again."
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="keep a key with all scopes in this file, for its owner alone; one in use that is there already stays",
    )
    add_flags(parser, Settings)


async def main(arguments: argparse.Namespace) -> int:
    """Create what is missing, verify what exists."""
    return await up.until_stopped(_prepare(settings_of(arguments, Settings), arguments.key_file))


async def _prepare(settings: Settings, key_file: Path | None) -> None:
    created = await ensure_topics(settings)
    print(f"created {len(created)} topics" if created else "all topics exist and are as they must be")
    applied = await migrate(settings.database_url)
    print(f"applied {len(applied)} migrations" if applied else "the database is up to date")
    if key_file is not None:
        connection = await connect(settings.database_url, "tally-setup")
        try:
            await ensure_key_file(connection, key_file, "tally setup")
        finally:
            await connection.close()
        print(f"a key is in {key_file}")
