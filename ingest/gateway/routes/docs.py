"""The page that shows the OpenAPI document: all of it from here, so that it works where there is no other network."""

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from ingest.refused import Refused
from schemas.rejection import Reason

router = APIRouter(include_in_schema=False)

_OWN: Final = files("ingest.gateway.documentation")
_SWAGGER: Final = files("fastapi_offline") / "static"

ASSETS: Final[dict[str, tuple[Traversable, str]]] = {
    "page.css": (_OWN / "page.css", "text/css"),
    "page.js": (_OWN / "page.js", "text/javascript"),
    "swagger-ui.css": (_SWAGGER / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_SWAGGER / "swagger-ui-bundle.js", "text/javascript"),
}

# swagger-ui sets styles on elements and draws its arrows from data: addresses.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
_KEPT: Final = {**_HEADERS, "cache-control": "max-age=3600"}


@router.get("/docs")
async def get_docs() -> Response:
    """The page."""
    return Response((_OWN / "page.html").read_bytes(), headers=_HEADERS, media_type="text/html")


@router.get("/docs/{name}")
async def get_asset(name: str) -> Response:
    """What the page refers to."""
    if name not in ASSETS:
        raise Refused.of(Reason.NOT_FOUND)
    asset, media_type = ASSETS[name]
    with as_file(asset) as path:
        return FileResponse(path, headers=_KEPT, media_type=media_type)
