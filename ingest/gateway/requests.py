"""The bodies of the cold requests: parsed by our own rules, because the framework would make floats of numbers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from ingest.gateway.body import read_body
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.document import BODY_BYTES_MAX, parse_object, validate
from schemas.rejection import Rejection

Model = TypeVar("Model", bound=WireModel)


def body_of(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """The dependency that gives a request's body as a model. Raises Refused."""

    async def parsed(request: Request) -> Model:
        seconds: float = request.app.state.parts.body_seconds
        body = await read_body(request.scope["headers"], request.receive, BODY_BYTES_MAX, seconds)
        document = body if isinstance(body, Rejection) else parse_object(body)
        result = document if isinstance(document, Rejection) else validate(model.model_validate, document)
        if isinstance(result, Rejection):
            raise Refused(result)
        return result

    return parsed
