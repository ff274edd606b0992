"""The status page, and what it shows of the deployment. The page itself tells nothing: its data needs a key."""

from importlib.resources import as_file, files
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from ingest.gateway.answer import json_answer
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import documented, shown
from ingest.gateway.parameters import Reader
from ingest.gateway.parts import PartsOf
from ingest.gateway.status.views import StatusView
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import Reason, Rejection

router = APIRouter(tags=["status"])
page = APIRouter(include_in_schema=False)

_OWN: Final = files("ingest.gateway.status")

ASSETS: Final = {
    "page.css": "text/css",
    **dict.fromkeys(("page.js", "dom.js", "plot.js", "sections.js"), "text/javascript"),
}

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

_OF_ALL: Final = "The status is that of all services together; use a key that is not bound to services."


class StatusAnswer(WireModel):
    """The status."""

    status: StatusView


@router.get("/status")
@documented(shown(StatusAnswer, {"status": examples.STATUS}))
async def get_status(key: Reader, parts: PartsOf) -> Response:
    """How the deployment does: its parts, each partition's position, lag and ledger, and the verdicts of the last 15
    minutes.

    Only for keys that are not bound to services; up to a second old.
    """
    if key.services is not None:
        raise Refused(Rejection(Reason.FORBIDDEN, _OF_ALL))
    return json_answer(200, StatusAnswer(status=await parts.status.look()).wire()).response()


@page.get("/status")
async def get_page() -> Response:
    """The page."""
    return Response((_OWN / "page.html").read_bytes(), headers=_HEADERS, media_type="text/html")


@page.get("/status/{name}")
async def get_asset(name: str) -> Response:
    """What the page refers to."""
    if name not in ASSETS:
        raise Refused.of(Reason.NOT_FOUND)
    with as_file(_OWN / name) as path:
        return FileResponse(path, headers=_HEADERS, media_type=ASSETS[name])
