"""Postgres brought up to the topic, after a restore from an older backup; and the topic brought up from Postgres.

Of services, plans and subscriptions the topic holds everything. Of an invoice it holds only the changes of its status:
the closer writes its invoices again by itself, and one that a caller made is lost with the database.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ingest.catalog.comparing import SQL, beyond_postgres
from ingest.catalog.log import CatalogLog, Published
from schemas.invoice import CatalogInvoice, InvoiceStatus
from schemas.plan import Plan
from schemas.service import Service
from schemas.subscription import Subscription
from schemas.timestamps import aware_datetime

if TYPE_CHECKING:
    from ingest.database import Connection

KINDS: Final = ("service", "plan", "subscription", "invoice")
"""In the order in which they need each other."""

_ENTRIES_MAX: Final = 500


async def rebuild(connection: "Connection", log: CatalogLog) -> list[str]:
    """Raise Postgres to the topic's versions, in one transaction; returns what became of each entry, a sentence each.

    Doing it again changes nothing. Raises BrokerAway.
    """
    behind: dict[str, tuple[Published, int | None]] = {}
    async with log.reading() as reading:
        async for part in reading.rest():
            for entry, held in await beyond_postgres(connection, part):
                if entry.key not in behind or entry.supersedes(behind[entry.key][0]):
                    behind[entry.key] = entry, held
    said: list[str] = []
    async with connection.transaction():
        for kind in KINDS:
            for entry, held in behind.values():
                if entry.kind == kind:
                    said += await _raise(connection, entry, held)
    return said


async def _raise(connection: "Connection", entry: Published, held: int | None) -> list[str]:
    try:
        document = await _write(connection, entry)
    except ValidationError as error:
        what = f"version {entry.version} of {entry.key} on the topic is not one that a gateway wrote"
        return [f"skipped {entry.key}: {what} ({error.errors()[0]['msg']}); publish it anew, see docs/operations.md"]
    if document is None:
        return [
            f"skipped {entry.key}: the topic has its statuses, and Postgres no such invoice; if the closer wrote it,"
            " it will again: run this again then; one that was made by hand must be made again"
        ]
    dropped = [row["version"] for row in await connection.fetch(SQL["drop_unpublished"], entry.key, entry.version)]
    payload, at = json.dumps(document, ensure_ascii=False), aware_datetime(entry.at)
    await connection.execute(SQL["rebuild_published"], entry.key, entry.version, payload, at)
    said = [f"created {entry.key}" if held is None else f"raised {entry.key} from version {held} to {entry.version}"]
    if dropped:
        numbers = ", ".join(map(str, sorted(dropped)))
        said.append(
            f"dropped what Postgres had not published of {entry.key} (version {numbers}): the topic went beyond"
        )
    return said


async def _write(connection: "Connection", entry: Published) -> dict[str, Any] | None:
    """Write the entry where Postgres has a lower version; returns it with all its times, or None where Postgres has
    nothing to write it to. Raises ValidationError."""
    if entry.kind == "invoice":
        return await _write_invoice(connection, entry)
    entity, created_at, columns = _row(entry)
    document = entity.wire()
    stored, created = json.dumps(document, ensure_ascii=False), aware_datetime(created_at)
    await connection.execute(SQL[f"rebuild_{entry.kind}"], entry.id, entry.version, stored, created, *columns)
    return document


def _row(entry: Published) -> tuple[Service | Plan | Subscription, int, tuple[str, ...]]:
    """What the entry says, since when, and the columns that stand beside the document."""
    if entry.kind == "service":
        return Service.model_validate(entry.document), entry.at, ()
    if entry.kind == "plan":
        plan = Plan.model_validate(entry.document)
        return plan, entry.at, (plan.service_id,)
    subscription = Subscription.of_record(dict(entry.document), entry.at)
    status = subscription.transitions[-1].status
    columns = (subscription.service_id, subscription.payment_plan_id, subscription.user_id, status)
    return subscription, subscription.created_at, columns


async def _write_invoice(connection: "Connection", entry: Published) -> dict[str, Any] | None:
    invoice = CatalogInvoice.of_record(dict(entry.document), entry.at)
    status, changed_at = invoice.transitions[-1].status, invoice.transitions[-1].at
    paid_at = aware_datetime(changed_at or entry.at) if status == InvoiceStatus.PAID else None
    written = await connection.fetchval(SQL["rebuild_invoice"], entry.id, entry.version, status, paid_at)
    return None if written is None else invoice.wire()


async def published_entries(
    connection: "Connection", keys: Sequence[str] | None
) -> AsyncGenerator[list[tuple[str, dict[str, Any]]], None]:
    """The newest published version of the entries of these keys (None: of all), some at a time, what others need first.

    They carry all times of their changes of status, so that publishing them again moves none.
    """
    for kind in KINDS:
        after = ""
        while rows := await connection.fetch(
            SQL["newest_published"], after, f"{kind}/%", None if keys is None else list(keys), _ENTRIES_MAX
        ):
            yield [(row["key"], json.loads(row["payload"])) for row in rows]
            after = rows[-1]["key"]
