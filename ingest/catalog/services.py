"""Services in Postgres."""

import json
from typing import TYPE_CHECKING

from ingest.catalog.change import Saved, saved, unchanged
from ingest.catalog.comparing import SQL
from ingest.catalog.ids import new_id
from ingest.catalog.page import Page, PageRequest
from ingest.refused import Refused
from schemas.rejection import Reason
from schemas.service import NewService, Service

if TYPE_CHECKING:
    from ingest.database import Connection


async def create_service(connection: "Connection", new: NewService) -> Saved[Service]:
    """Store a service; the same one again is the one that exists. Raises Refused."""
    service = Service.model_validate({**new.wire(), "id": new.id or new_id("svc")})
    document = json.dumps(service.wire(), ensure_ascii=False)
    if await connection.fetchval(SQL["add_service"], service.id, document) is not None:
        return await saved(connection, service, created=True)
    existing = await find_service(connection, service.id)
    assert existing is not None, "services are never deleted"
    if existing.model_copy(update={"version": service.version}) != service:
        raise Refused.of(Reason.ALREADY_EXISTS, "id")
    return await unchanged(connection, existing)


async def find_service(connection: "Connection", service_id: str) -> Service | None:
    """The service of this id."""
    document = await connection.fetchval(SQL["service"], service_id)
    return None if document is None else Service.model_validate(json.loads(document))


async def list_services(connection: "Connection", request: PageRequest) -> Page[Service]:
    """A page of services."""
    rows = await connection.fetch(SQL["services"], *request.arguments())
    return request.page(rows, lambda row: Service.model_validate(json.loads(row["document"])))
