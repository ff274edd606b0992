"""What requests carry beside their body: the key, ids in the path, filters and pages in the query."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import unquote

from fastapi import Depends, Path, Query, Request
from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.convertors import Convertor, register_url_convertor

from ingest.catalog.page import PageRequest
from ingest.gateway.cursor import NotACursor, place_of
from ingest.keys import ApiKey, Scope
from ingest.refused import Refused
from schemas.rejection import FieldError, Reason, Rejection
from schemas.text import LENGTH_MAX, OptionalText, text

LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 20

_DIGITS = re.compile(r"[0-9]{1,3}", re.ASCII).fullmatch


class _Id(Convertor[str]):
    """An id in a path, encoded as gateway.front does. What can be nobody's id is the empty one, which nobody has."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        decoded = unquote(value)
        try:
            return decoded if text(decoded) == decoded else ""
        except ValueError:
            return ""

    def to_string(self, value: str) -> str:
        raise NotImplementedError("no URL is made of a route's name")


class _EventId(_Id):
    """As _Id, where a route of another meaning stands beside it: POST /usage-events/batch."""

    regex = "(?!batch$)[^/]+"


register_url_convertor("id", _Id())  # in a route: {name:id}
register_url_convertor("event_id", _EventId())


@dataclass(slots=True, frozen=True)
class Holder:
    """The dependency that gives the caller's key, or refuses a key without the scope."""

    scope: Scope

    async def __call__(self, request: Request) -> ApiKey:
        key: ApiKey = request.state.key
        if not key.permits(self.scope):
            raise Refused.of(Reason.FORBIDDEN)
        return key


Reader = Annotated[ApiKey, Depends(Holder(Scope.READ))]
CatalogWriter = Annotated[ApiKey, Depends(Holder(Scope.CATALOG_WRITE))]
BillingWriter = Annotated[ApiKey, Depends(Holder(Scope.BILLING_WRITE))]


def _limit(value: Any) -> int:
    if type(value) is str and _DIGITS(value) and 1 <= int(value) <= LIMIT_MAX:
        return int(value)
    raise PydanticCustomError("parameter_invalid", "must be a whole number from 1 to {max}", {"max": LIMIT_MAX})


_Limit = Annotated[
    int,
    PlainValidator(_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
    Query(description="How many to return at most."),
]
_Cursor = Annotated[str | None, Query(description="The nextCursor of the page before.")]


async def _page_request(key: Reader, limit: _Limit = LIMIT_DEFAULT, cursor: _Cursor = None) -> PageRequest:
    try:
        return PageRequest(limit, place_of(cursor), key.services)
    except NotACursor as error:
        message = "must be the nextCursor of an earlier page"
        raise Refused(Rejection.of_fields([FieldError("cursor", Reason.PARAMETER_INVALID, message)])) from error


PageAsked = Annotated[PageRequest, Depends(_page_request)]

ServiceFilter = Annotated[OptionalText, Query(alias="serviceId", description="Only of this service.")]
UserFilter = Annotated[OptionalText, Query(alias="userId", description="Only of this user.")]
SubscriptionFilter = Annotated[OptionalText, Query(alias="subscriptionId", description="Only of this subscription.")]

PathId = Annotated[str, Path(alias="id", json_schema_extra={"minLength": 1, "maxLength": LENGTH_MAX})]
