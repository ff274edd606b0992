"""`tally held list|release`: closed periods without an invoice (docs/operations.md, "Held periods")."""

import argparse
from collections.abc import Sequence

import asyncpg

from aggregator.closer.assembly import HoldReason
from aggregator.closer.releasing import held_periods, release
from deploy.flags import whole_number
from deploy.migrate import connect
from deploy.target import add_target_flags, settings_of_target
from schemas.errors import OperatorError
from schemas.timestamps import milliseconds, timestamp_text
from schemas.topics import Topic


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="show all, each with the place of its record and the reason")
    releasing = actions.add_parser("release", help="have the closer try them again, once their cause is mended")
    releasing.add_argument(
        "--partition",
        type=whole_number(0),
        metavar="N",
        help="only those of this partition of closed-periods (default: of all that have any)",
    )
    for action in (listing, releasing):
        add_target_flags(action)


async def main(arguments: argparse.Namespace) -> None:
    """Do what the action says. Raises OperatorError."""
    settings = settings_of_target(arguments)
    connection = await connect(settings.database_url, "tally-held")
    try:
        held = await held_periods(connection)
        if arguments.action == "list":
            _list(held)
        else:
            chosen = [row for row in held if arguments.partition in (None, row["log_partition"])]
            await _release(connection, settings.topic(Topic.CLOSED_PERIODS), chosen)
    except asyncpg.UndefinedTableError as error:
        raise OperatorError("The database lacks Tally's tables: run 'tally migrate', then this again.") from error
    finally:
        await connection.close()


async def _release(connection: asyncpg.Connection, topic: str, held: "Sequence[asyncpg.Record]") -> None:
    mendable = [row for row in held if row["reason"] != HoldReason.DIVERGED]
    for partition in sorted({row["log_partition"] for row in mendable}):
        count = await release(connection, topic, partition)
        print(f"released {count} of partition {partition}; the closer reads it again from its begin")
    if not mendable:
        print("nothing to release")
    if diverged := len(held) - len(mendable):
        print(f"{diverged} DIVERGED stay held, for their invoices exist with other content: settle those by hand")


def _list(held: "Sequence[asyncpg.Record]") -> None:
    for row in held:
        period = "" if row["period_start"] is None else timestamp_text(milliseconds(row["period_start"]))
        whose = "" if row["subscription_id"] is None else f"{row['subscription_id']} {period} {row['sequence']}  "
        detail = " ".join(row["detail"].split())  # Postgres's words may have several lines
        print(f"{row['log_partition']}:{row['log_offset']}  {row['reason']}  {whose}{detail}")
    if not held:
        print("none")
