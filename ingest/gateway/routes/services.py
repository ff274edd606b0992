"""Services."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Response

from ingest.catalog.change import Saved
from ingest.catalog.services import change_service, create_service, find_service, list_services, lock_service
from ingest.gateway.answer import json_answer, saved_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, created, documented, shown
from ingest.gateway.parameters import CatalogWriter, PageAsked, PathId, Reader
from ingest.gateway.parts import PartsOf
from ingest.gateway.requests import body_of
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import Reason, Rejection
from schemas.service import NewService, Service, ServiceChange
from schemas.text import Text

if TYPE_CHECKING:
    from ingest.database import Connection

router = APIRouter(tags=["services"])


class ServiceView(NewService):
    """A service as callers see it."""

    id: Text

    @classmethod
    def of(cls, service: Service) -> "ServiceView":
        """The view of a service."""
        return cls.model_validate(service.wire())


class ServiceAnswer(WireModel):
    """One service."""

    service: ServiceView


class ServicesAnswer(WireModel):
    """A page of services."""

    services: list[ServiceView]
    next_cursor: str | None


@router.post("/services")
@documented(
    *created(ServiceAnswer, {"service": examples.SERVICE}),
    body=Sent(NewService, examples.NEW_SERVICE),
    reasons=(Reason.SERVICE_NOT_FOUND, Reason.ALREADY_EXISTS),
)
async def post_service(
    key: CatalogWriter, new: Annotated[NewService, Depends(body_of(NewService))], parts: PartsOf
) -> Response:
    """Create a service; the same one again answers 200."""
    if key.services is not None and new.id is None:
        raise Refused(Rejection(Reason.FORBIDDEN, "This API key is for certain services and can't create others."))
    if new.id is not None and not key.sees(new.id):
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "id")
    saved = await parts.changes.make(lambda connection: create_service(connection, new))
    return saved_answer(saved, ServiceAnswer(service=ServiceView.of(saved.entity))).response()


@router.patch("/services/{id:id}")
@documented(
    shown(ServiceAnswer, {"service": {**examples.SERVICE, "gracePeriodSeconds": 60}}, "Changed."),
    body=Sent(ServiceChange, {"gracePeriodSeconds": 60}),
    reasons=(Reason.SERVICE_NOT_FOUND,),
)
async def patch_service(
    key: CatalogWriter,
    service_id: PathId,
    change: Annotated[ServiceChange, Depends(body_of(ServiceChange))],
    parts: PartsOf,
) -> Response:
    """Change the fields that are given; null clears the grace period and the greatest age of events. It holds for every
    usage event that is sent after the answer."""

    async def made(connection: "Connection") -> Saved[Service]:
        service = await lock_service(connection, service_id) if key.sees(service_id) else None
        if service is None:
            raise Refused.of(Reason.SERVICE_NOT_FOUND)
        return await change_service(connection, service, change)

    saved = await parts.changes.make(made)
    return saved_answer(saved, ServiceAnswer(service=ServiceView.of(saved.entity))).response()


@router.get("/services/{id:id}")
@documented(shown(ServiceAnswer, {"service": examples.SERVICE}), reasons=(Reason.SERVICE_NOT_FOUND,))
async def get_service(key: Reader, service_id: PathId, parts: PartsOf) -> Response:
    """A service."""
    async with parts.database.connection() as connection:
        service = await find_service(connection, service_id) if key.sees(service_id) else None
    if service is None:
        raise Refused.of(Reason.SERVICE_NOT_FOUND)
    return json_answer(200, ServiceAnswer(service=ServiceView.of(service)).wire()).response()


@router.get("/services")
@documented(shown(ServicesAnswer, {"services": [examples.SERVICE], "nextCursor": None}))
async def get_services(asked: PageAsked, parts: PartsOf) -> Response:
    """Services, newest first."""
    async with parts.database.connection() as connection:
        page = await list_services(connection, asked)
    services = [ServiceView.of(service) for service in page.items]
    return json_answer(200, ServicesAnswer(services=services, next_cursor=cursor_of(page.next)).wire()).response()
