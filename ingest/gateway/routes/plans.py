"""Plans."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from ingest.catalog.plans import create_plan, find_plan, list_plans
from ingest.gateway.answer import json_answer, saved_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, created, documented, shown
from ingest.gateway.parameters import CatalogWriter, PageAsked, PathId, Reader, ServiceFilter
from ingest.gateway.parts import PartsOf
from ingest.gateway.requests import body_of
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.plan import NewPlan, Plan
from schemas.rejection import Reason
from schemas.text import Text

router = APIRouter(tags=["plans"])


class PlanView(NewPlan):
    """A plan as callers see it."""

    id: Text

    @classmethod
    def of(cls, plan: Plan) -> "PlanView":
        """The view of a plan."""
        return cls.model_validate(plan.wire())


class PlanAnswer(WireModel):
    """One plan."""

    plan: PlanView


class PlansAnswer(WireModel):
    """A page of plans."""

    plans: list[PlanView]
    next_cursor: str | None


@router.post("/plans")
@documented(
    *created(PlanAnswer, {"plan": examples.PLAN}),
    body=Sent(NewPlan, examples.NEW_PLAN),
    reasons=(Reason.SERVICE_NOT_FOUND, Reason.ALREADY_EXISTS),
)
async def post_plan(key: CatalogWriter, new: Annotated[NewPlan, Depends(body_of(NewPlan))], parts: PartsOf) -> Response:
    """Create a plan of a service, for good: a new price is a new plan. The same one again answers 200."""
    if not key.sees(new.service_id):
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    saved = await parts.changes.make(lambda connection: create_plan(connection, new))
    return saved_answer(saved, PlanAnswer(plan=PlanView.of(saved.entity))).response()


@router.get("/plans/{id:id}")
@documented(shown(PlanAnswer, {"plan": examples.PLAN}), reasons=(Reason.PLAN_NOT_FOUND,))
async def get_plan(key: Reader, plan_id: PathId, parts: PartsOf) -> Response:
    """A plan."""
    async with parts.database.connection() as connection:
        plan = await find_plan(connection, plan_id)
    if plan is None or not key.sees(plan.service_id):
        raise Refused.of(Reason.PLAN_NOT_FOUND)
    return json_answer(200, PlanAnswer(plan=PlanView.of(plan)).wire()).response()


@router.get("/plans")
@documented(shown(PlansAnswer, {"plans": [examples.PLAN], "nextCursor": None}))
async def get_plans(asked: PageAsked, parts: PartsOf, service_id: ServiceFilter = None) -> Response:
    """Plans, newest first."""
    async with parts.database.connection() as connection:
        page = await list_plans(connection, asked, service_id)
    plans = [PlanView.of(plan) for plan in page.items]
    return json_answer(200, PlansAnswer(plans=plans, next_cursor=cursor_of(page.next)).wire()).response()
