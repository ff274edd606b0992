"""Services in Postgres."""

import json
from typing import TYPE_CHECKING

from ingest.catalog.change import Saved, key_of, saved, unchanged
from ingest.catalog.comparing import SQL
from ingest.catalog.ids import new_id
from ingest.catalog.page import Page, PageRequest
from ingest.refused import Refused
from schemas.rejection import FieldError, Reason, Rejection
from schemas.service import NewService, Service, ServiceChange

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
    if await _as_asked_for(connection, existing) != service:
        raise Refused.of(Reason.ALREADY_EXISTS, "id")
    return await unchanged(connection, existing)


async def change_service(connection: "Connection", service: Service, change: ServiceChange) -> Saved[Service]:
    """Give a locked service the fields that a change gives. Raises Refused."""
    given = {name: getattr(change, name) for name in change.model_fields_set}
    if given.pop("event_key_scope", None) not in (None, service.event_key_scope):
        error = FieldError("eventKeyScope", Reason.FIELD_INVALID, "is fixed when the service is created")
        raise Refused(Rejection.of_fields([error]))
    changed = service.model_copy(update=given)
    if changed == service:
        return await unchanged(connection, service)
    changed = changed.model_copy(update={"version": service.version + 1})
    document = json.dumps(changed.wire(), ensure_ascii=False)
    await connection.execute(SQL["change_service"], changed.id, changed.version, document)
    return await saved(connection, changed)


async def lock_service(connection: "Connection", service_id: str) -> Service | None:
    """The service of this id, which nobody else changes before the transaction ends."""
    document = await connection.fetchval(SQL["lock_service"], service_id)
    return None if document is None else Service.model_validate(json.loads(document))


async def find_service(connection: "Connection", service_id: str) -> Service | None:
    """The service of this id."""
    document = await connection.fetchval(SQL["service"], service_id)
    return None if document is None else Service.model_validate(json.loads(document))


async def list_services(connection: "Connection", request: PageRequest) -> Page[Service]:
    """A page of services."""
    rows = await connection.fetch(SQL["services"], *request.arguments())
    return request.page(rows, lambda row: Service.model_validate(json.loads(row["document"])))


async def _as_asked_for(connection: "Connection", service: Service) -> Service:
    """The service as it was created, whatever has become of it since: its first entry. A database that was rebuilt may
    lack that, and then it is as it is now."""
    document = await connection.fetchval(SQL["first_entry"], key_of(service))
    if document is None:
        return service.model_copy(update={"version": 1})
    return Service.model_validate(json.loads(document))
