"""Whether Postgres knows all that it has published: a database restored from an older backup does not.

A change is committed to Postgres before it is published. So a version on the topic that Postgres does not hold was
published by what the database was before.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from ingest.catalog.log import Published
from ingest.queries import named_queries
from schemas.errors import OperatorError

if TYPE_CHECKING:
    from ingest.database import Connection

SQL: Final = named_queries("ingest.catalog")


class CatalogAhead(OperatorError):
    """The topic holds a version that Postgres does not have: what is published now could take it back."""

    exit_code = 37

    def __init__(self, topic: str, key: str, version: int, held: int | None, more: int = 0) -> None:
        others = f", and so it is with {more} other entries" if more else ""
        super().__init__(
            f"The topic {topic} holds version {version} of {key} and Postgres {_held(held)}{others}: the database is an"
            " older copy; stop all gateways, run 'tally catalog rebuild', and start them again."
        )


async def compare(connection: "Connection", topic: str, entries: Iterable[Published]) -> dict[str, int]:
    """The versions of invoices that the topic holds beyond their first and Postgres lacks wholly: the closer may write
    them again. Raises CatalogAhead for any other entry that Postgres lacks."""
    lost: dict[str, int] = {}
    ahead: dict[str, tuple[int, int | None]] = {}
    for entry, held in await beyond_postgres(connection, entries):
        if held is None and entry.kind == "invoice":
            if entry.version > 1:
                lost[entry.key] = entry.version
        else:
            ahead[entry.key] = (entry.version, held)
    for key, (version, held) in ahead.items():
        raise CatalogAhead(topic, key, version, held, more=len(ahead) - 1)
    return lost


async def beyond_postgres(connection: "Connection", entries: Iterable[Published]) -> list[tuple[Published, int | None]]:
    """Those entries whose version is higher than the one that Postgres holds, each with that: None where it has none.
    Of several records of an entry the one that supersedes all others is meant."""
    newest: dict[str, Published] = {}
    for entry in entries:
        if entry.key not in newest or entry.supersedes(newest[entry.key]):
            newest[entry.key] = entry
    held = await held_versions(connection, newest)
    return [
        (entry, held[key])
        for key, entry in newest.items()
        if key in held and (held[key] is None or entry.version > (held[key] or 0))
    ]


async def held_versions(connection: "Connection", entries: Mapping[str, Published]) -> dict[str, int | None]:
    """The version that Postgres holds of each entry; a key that names nothing that it could hold is left out."""
    kinds, ids = [entry.kind for entry in entries.values()], [entry.id for entry in entries.values()]
    rows = await connection.fetch(SQL["held_versions"], kinds, ids)
    return {f"{row['kind']}/{row['id']}": row["version"] for row in rows}


def _held(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
