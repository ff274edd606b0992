"""Whether Postgres knows all that it has published: a database restored from an older backup does not.

A change is committed to Postgres before it is published. So what Postgres lacks was published after all that it knows
to be published, and only the topic's records since then are read.
"""

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from ingest.catalog.log import CatalogLog, Published
from ingest.queries import named_queries
from schemas.errors import OperatorError

if TYPE_CHECKING:
    from ingest.database import Connection

SQL: Final = named_queries("ingest.catalog")

CLOCK_SLACK_MS: Final = 600_000
"""Append times are those of the brokers that led the topic, whose clocks may differ by less than this."""


class CatalogAhead(OperatorError):
    """The topic holds a version that Postgres does not have: what is published now could take it back."""

    exit_code = 37

    def __init__(self, topic: str, key: str, version: int, held: int | None, more: int = 0) -> None:
        others = f", and so it is with {more} other entries" if more else ""
        super().__init__(
            f"The topic {topic} holds version {version} of {key} and Postgres {_held(held)}{others}: the database is an"
            " older copy; stop all gateways, run 'tally catalog rebuild', and start them again."
        )


async def compare(connection: "Connection", log: CatalogLog) -> dict[str, int]:
    """The versions of invoices that the topic holds beyond their first and Postgres lacks wholly: the closer may write
    them again. Raises CatalogAhead for any other entry that Postgres lacks, and BrokerAway."""
    newest: int | None = await connection.fetchval(SQL["newest_append_time"])
    lost: dict[str, int] = {}
    ahead: dict[str, tuple[int, int | None]] = {}
    async with aclosing(log.since(None if newest is None else newest - CLOCK_SLACK_MS)) as parts:
        async for part in parts:
            for entry, held in await beyond_postgres(connection, part):
                if held is None and entry.kind == "invoice":
                    if entry.version > 1:
                        lost[entry.key] = entry.version
                else:
                    ahead[entry.key] = (entry.version, held)
    for key, (version, held) in ahead.items():
        raise CatalogAhead(log.topic, key, version, held, more=len(ahead) - 1)
    return lost


async def beyond_postgres(connection: "Connection", entries: Iterable[Published]) -> list[tuple[Published, int | None]]:
    """Those entries whose version is higher than the one that Postgres holds, each with that: None where it has none.
    Of several versions of an entry the highest is meant."""
    highest: dict[str, Published] = {}
    for entry in entries:
        if entry.key not in highest or entry.version >= highest[entry.key].version:
            highest[entry.key] = entry
    held = await held_versions(connection, highest)
    return [
        (entry, held[key])
        for key, entry in highest.items()
        if key in held and (held[key] is None or entry.version > (held[key] or 0))
    ]


async def held_versions(connection: "Connection", entries: Mapping[str, Published]) -> dict[str, int | None]:
    """The version that Postgres holds of each entry; a key that names nothing that it could hold is left out."""
    kinds, ids = [entry.kind for entry in entries.values()], [entry.id for entry in entries.values()]
    rows = await connection.fetch(SQL["held_versions"], kinds, ids)
    return {f"{row['kind']}/{row['id']}": row["version"] for row in rows}


def _held(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
