"""Plans in Postgres."""

import json
from typing import TYPE_CHECKING

from ingest.catalog.change import Saved, saved, unchanged
from ingest.catalog.comparing import SQL
from ingest.catalog.ids import new_id
from ingest.catalog.page import Page, PageRequest
from ingest.catalog.services import find_service
from ingest.refused import Refused
from schemas.plan import NewPlan, Plan
from schemas.rejection import FieldError, Reason, Rejection

if TYPE_CHECKING:
    from ingest.database import Connection


async def create_plan(connection: "Connection", new: NewPlan) -> Saved[Plan]:
    """Store a plan; the same one again is the one that exists. Raises Refused."""
    if await find_service(connection, new.service_id) is None:
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    plan = Plan.model_validate({**new.wire(), "id": new.id or new_id("plan")})
    document = json.dumps(plan.wire(), ensure_ascii=False)
    if await connection.fetchval(SQL["add_plan"], plan.id, plan.service_id, document) is not None:
        return await saved(connection, plan, created=True)
    existing = await find_plan(connection, plan.id)
    if existing != plan:
        raise Refused.of(Reason.ALREADY_EXISTS, "id")
    return await unchanged(connection, existing)


async def find_plan(connection: "Connection", plan_id: str) -> Plan | None:
    """The plan of this id."""
    document = await connection.fetchval(SQL["plan"], plan_id)
    return None if document is None else Plan.model_validate(json.loads(document))


async def known_plan(connection: "Connection", service_id: str, plan_id: str, services: frozenset[str] | None) -> Plan:
    """The plan that a caller names beside a service, both of which must exist. Raises Refused.

    `services` are those that the caller may know of, None for all.
    """
    if await find_service(connection, service_id) is None:
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    plan = await find_plan(connection, plan_id)
    if plan is None or not (services is None or plan.service_id in services):
        raise Refused.of(Reason.PLAN_NOT_FOUND, "paymentPlanId")
    return plan


def check_plan(plan: Plan, service_id: str) -> None:
    """Refuse a plan of another service. Raises Refused."""
    if plan.service_id != service_id:
        error = FieldError("paymentPlanId", Reason.FIELD_INVALID, "must be a plan of the service")
        raise Refused(Rejection.of_fields([error]))


async def list_plans(connection: "Connection", request: PageRequest, service_id: str | None) -> Page[Plan]:
    """A page of plans, of one service or of all."""
    rows = await connection.fetch(SQL["plans"], *request.arguments(), service_id)
    return request.page(rows, lambda row: Plan.model_validate(json.loads(row["document"])))
