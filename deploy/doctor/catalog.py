"""The topic `catalog` against Postgres, which is its record."""

from collections.abc import Iterator

import asyncpg

from deploy.doctor.finding import Finding, fail, named, ok, warn
from ingest.catalog.comparing import CatalogAhead, compare
from ingest.catalog.log import CatalogLog

CHECK = "catalog"


async def look_at_catalog(connection: asyncpg.Connection, bootstrap: str, topic: str, seconds: float) -> list[Finding]:
    """Read the whole topic, and say whether Postgres has all that was published. Raises BrokerAway."""
    entries, lost = 0, dict[str, int]()
    try:
        async with CatalogLog(bootstrap, topic, seconds).reading() as reading:
            async for part in reading.rest():
                entries += len(part)
                lost |= await compare(connection, topic, part)
    except CatalogAhead as error:
        remedy = "No gateway starts (37). docs/backup.md has the steps: closer and projector are to catch up before."
        return [fail(CHECK, str(error), remedy)]
    return list(judge_catalog(entries, lost))


def judge_catalog(entries: int, lost: dict[str, int]) -> Iterator[Finding]:
    """Where Postgres is not behind: whether invoices are missing."""
    if lost:
        yield warn(
            CHECK,
            f"the topic has changes of {named(sorted(lost))}, which Postgres lacks",
            "An older backup was restored: the closer writes its own invoices again, then run 'tally catalog rebuild';"
            " one that was made by hand must be made again.",
        )
    else:
        yield ok(CHECK, f"Postgres has all that the {entries:,} records of the topic say")
