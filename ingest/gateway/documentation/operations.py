"""One operation of the document: its words, parameters, body and answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ingest.gateway.documentation import errors
from ingest.gateway.documentation.components import Components, untitled
from ingest.gateway.documentation.declaring import JSON, Declaration, Sent, Shown
from ingest.gateway.documentation.headers import header_references, parameter_reference
from ingest.keys import Scope
from schemas.decimals import DECIMAL_FORMAT
from schemas.rejection import Reason

_BY_FORMAT: Final = {DECIMAL_FORMAT: errors.DECIMAL, "date-time": errors.TIMESTAMP}


@dataclass(slots=True, frozen=True)
class Described:
    """A route: its method, the scope that its key needs (None where it takes no key), and what it declares."""

    method: str
    scope: Scope | None
    declaration: Declaration
    components: Components

    def complete(self, operation: dict[str, Any]) -> None:
        """Complete what FastAPI made of the route."""
        self._put_into_words(operation)
        parameters = [_parameter(parameter) for parameter in operation.pop("parameters", ())]
        reasons = set(self._reasons(parameters))
        parameters += [parameter_reference(name) for name in self._request_headers()]
        if parameters:
            operation["parameters"] = parameters
        if self.declaration.body is not None:
            operation["requestBody"] = _body(self.declaration.body, self.components)
        answers = {str(answer.status): self._answer(answer) for answer in self.declaration.answers}
        operation["responses"] = {**answers, **errors.error_responses(reasons, set(self._fields()))}

    @property
    def _is_idempotent_post(self) -> bool:
        return self.method == "POST" and self.scope is not None

    def _put_into_words(self, operation: dict[str, Any]) -> None:
        description = operation.get("description", "")
        operation["summary"] = " ".join(description.split(". ")[0].split()).removesuffix(".")
        if self.scope is not None:
            operation["description"] = f"{description}\n\nNeeds the scope `{self.scope}`."
            # OpenAPI 3.1: the roles that a scheme without flows requires.
            operation["security"] = [{"apiKey": [self.scope.value]}]

    def _fields(self) -> Iterator[str]:
        """What an error may be about."""
        yield from self._request_headers()
        if self.declaration.body is not None:
            yield from self.declaration.body.example

    def _request_headers(self) -> Iterator[str]:
        if self._is_idempotent_post:
            yield "Idempotency-Key"
        if self.declaration.waits_for_verdict:
            yield "Prefer"

    def _reasons(self, parameters: list[dict[str, Any]]) -> Iterator[Reason]:
        yield from self.declaration.reasons
        if self.scope is not None:
            yield from errors.REQUEST
        if any(parameter["in"] == "query" for parameter in parameters):
            yield from errors.PARAMETER
        if self._is_idempotent_post:
            yield from errors.POST
        if self.declaration.body is not None:
            yield from errors.BODY
            if not self.declaration.body.items_by_themselves:
                for name in self.components.formats(self.components.sent(self.declaration.body.model)):
                    yield from _BY_FORMAT[name]

    def _answer(self, answer: Shown) -> dict[str, Any]:
        more = ["Idempotent-Replayed"] if self._is_idempotent_post else []
        if self.declaration.waits_for_verdict:
            more.append("Preference-Applied")
        schema = {"type": "string"} if answer.model is None else self.components.answered(answer.model)
        return {
            "description": answer.description,
            "headers": header_references(answer.status, *more),
            "content": {answer.media_type: {"schema": schema, "example": answer.example}},
        }


def _body(body: Sent, components: Components) -> dict[str, Any]:
    content = {JSON: {"schema": components.sent(body.model), "example": body.example}}
    for media_type, example in body.other_media_types.items():
        content[media_type] = {"schema": {"type": "string"}, "example": example}
    return {"required": True, "content": content}


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter as it can be sent: never null, for a URL has no such thing."""
    schema = untitled(parameter["schema"])
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema = {**kinds[0], **schema}
    return {**parameter, "schema": schema}
