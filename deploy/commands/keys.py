"""`tally keys create|list|revoke`."""

import argparse

import asyncpg

from deploy.flags import whole_number
from deploy.migrate import connect
from deploy.target import add_target_flags, settings_of_target
from ingest.keys import Scope, create_key, list_keys, revoke_key
from schemas.errors import OperatorError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="print a new key, once")
    create.add_argument("name", help="what the key is for")
    create.add_argument(
        "--scope", action="append", choices=[scope.value for scope in Scope], help="repeatable (default: all scopes)"
    )
    create.add_argument("--service", action="append", help="id of a service it may touch; repeatable (default: all)")
    create.add_argument(
        "--requests-per-second",
        type=whole_number(1),
        metavar="N",
        help="requests a second that it may make of each gateway (default: TALLY_REQUESTS_PER_SECOND of the gateway)",
    )
    listing = actions.add_parser("list", help="show all keys; the keys themselves are not kept")
    revoke = actions.add_parser("revoke", help="refuse a key from now on, for good")
    revoke.add_argument("id", help="the key's id, key_...")
    for action in (create, listing, revoke):
        add_target_flags(action)


async def main(arguments: argparse.Namespace) -> None:
    """Do what the action says. Raises OperatorError."""
    connection = await connect(settings_of_target(arguments).database_url, "tally-keys")
    try:
        await _act(connection, arguments)
    except asyncpg.UndefinedTableError as error:
        raise OperatorError("The database lacks Tally's tables: run 'tally migrate', then this again.") from error
    finally:
        await connection.close()


async def _act(connection: asyncpg.Connection, arguments: argparse.Namespace) -> None:
    if arguments.action == "create":
        scopes = arguments.scope or [scope.value for scope in Scope]
        limit = arguments.requests_per_second
        key_id, key = await create_key(connection, arguments.name, scopes, arguments.service, limit)
        print(f"{key_id}\n{key}")
    elif arguments.action == "revoke":
        await revoke_key(connection, arguments.id)
        print(f"{arguments.id} is revoked")
    else:
        for entry in await list_keys(connection):
            services = "all services" if entry.services is None else ",".join(entry.services)
            state = "live" if entry.revoked_at is None else f"revoked {entry.revoked_at:%Y-%m-%d}"
            limit = "no limit" if entry.requests_per_second is None else f"{entry.requests_per_second}/s"
            print(f"{entry.id}  {state}  {','.join(entry.scopes)}  {services}  {limit}  {entry.name}")
