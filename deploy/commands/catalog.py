"""`tally catalog rebuild|republish`: after a loss, Postgres from the topic or the topic from Postgres."""

import argparse
import asyncio
import json
from collections.abc import Sequence

import asyncpg

from deploy.migrate import connect
from deploy.target import add_target_flags, settings_of_target
from ingest.broker import Broker, BrokerAway
from ingest.catalog.comparing import SQL
from ingest.catalog.log import CatalogLog
from ingest.catalog.rebuilding import published_entries, rebuild
from ingest.catalog.topic import CatalogTopic
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import Topic

ANSWER_SECONDS = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    actions = parser.add_subparsers(dest="action", required=True)
    rebuilding = actions.add_parser(
        "rebuild", help="raise Postgres, restored from an older backup, to what the topic holds"
    )
    republishing = actions.add_parser("republish", help="publish entries anew, as Postgres has them")
    republishing.add_argument("key", nargs="*", help="such as subscription/ID (default: all entries)")
    for action in (rebuilding, republishing):
        add_target_flags(action)


async def main(arguments: argparse.Namespace) -> None:
    """Do what the action says. Raises OperatorError."""
    settings = settings_of_target(arguments)
    connection = await connect(settings.database_url, "tally-catalog")
    try:
        if arguments.action == "rebuild":
            await _rebuild(connection, settings)
        else:
            await _republish(connection, settings, arguments.key)
    except asyncpg.UndefinedTableError as error:
        raise OperatorError("The database lacks Tally's tables: run 'tally migrate', then this again.") from error
    except BrokerAway as error:
        raise OperatorError(
            f"Kafka at {settings.kafka} can't be used ({error}): start it, or check TALLY_KAFKA."
        ) from error
    finally:
        await connection.close()


async def _rebuild(connection: asyncpg.Connection, settings: Settings) -> None:
    said = await rebuild(connection, CatalogLog(settings.kafka, settings.topic(Topic.CATALOG), ANSWER_SECONDS))
    for sentence in said:
        print(sentence)
    if not said:
        print("Postgres has all that the topic holds")


async def _republish(connection: asyncpg.Connection, settings: Settings, keys: Sequence[str]) -> None:
    broker = Broker(settings.kafka, settings.topic(Topic.CATALOG), ANSWER_SECONDS)
    topic = CatalogTopic(broker)
    published: list[str] = []
    try:
        async for entries in published_entries(connection, keys or None):
            sent = [
                topic.send(key.encode(), json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode())
                for key, entry in entries
            ]
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.gather(*sent)
            published += [key for key, _ in entries]
    except TimeoutError as error:
        raise BrokerAway("it did not acknowledge in time") from error
    finally:
        await broker.close()
    if not keys:  # perhaps to a topic that was made anew: the gateways follow it from its first record
        await connection.execute(SQL["follow_anew"], settings.topic(Topic.CATALOG))
    if missing := sorted(set(keys) - set(published)):
        raise OperatorError(
            f"Postgres has not published {', '.join(missing)}: write keys as subscription/ID, plan/ID, service/ID or"
            " invoice/ID."
        )
    print(f"published {len(published)} entries anew")
