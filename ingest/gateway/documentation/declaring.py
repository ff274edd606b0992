"""How a route is documented: one declaration beneath its decorator, of what FastAPI can't know of it.

    @router.post("/services")
    @documented(
        *created(ServiceAnswer, {"service": examples.SERVICE}),
        body=Sent(NewService, examples.NEW_SERVICE),
        reasons=(Reason.ALREADY_EXISTS,),
    )
    async def post_service(...): ...

What follows from the rest is not declared: the scope from the key that the route depends on, parameters from its
signature, and the errors that every request, every body and every POST has (documentation.errors).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from schemas.rejection import Reason

Example = Mapping[str, Any]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

JSON: Final = "application/json"


@dataclass(slots=True, frozen=True)
class Shown:
    """An answer that is no error: `model` says what its body is, None that it is text; `example` is one."""

    status: int
    model: Any
    example: Any
    description: str
    media_type: str = JSON


@dataclass(slots=True, frozen=True)
class Sent:
    """A request's body: one example as JSON, and the same for each further media type. Where each item is refused by
    itself, the errors of their fields are none of the request."""

    model: Any
    example: Example
    other_media_types: Mapping[str, Any] = field(default_factory=dict)
    items_by_themselves: bool = False


@dataclass(slots=True, frozen=True)
class Declaration:
    """What a route says of itself. `reasons` are those that do not follow from the rest."""

    answers: tuple[Shown, ...]
    body: Sent | None
    reasons: tuple[Reason, ...]
    waits_for_verdict: bool


_DECLARATIONS: Final[dict[Callable[..., Any], Declaration]] = {}


def documented(
    *answers: Shown, body: Sent | None = None, reasons: tuple[Reason, ...] = (), waits_for_verdict: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Declare what a route takes and answers; one that waits for a verdict takes the header Prefer."""

    def declare(endpoint: Endpoint) -> Endpoint:
        _DECLARATIONS[endpoint] = Declaration(answers, body, reasons, waits_for_verdict)
        return endpoint

    return declare


def declaration_of(endpoint: Callable[..., Any]) -> Declaration | None:
    """What a route declared; None where it did not."""
    return _DECLARATIONS.get(endpoint)


def shown(model: Any, example: Example, description: str = "Here it is.") -> Shown:
    """The answer 200."""
    return Shown(200, model, example, description)


def created(model: Any, example: Example) -> tuple[Shown, Shown]:
    """The answers to a creation that may be repeated."""
    return (
        Shown(201, model, example, "Created. The next usage event is judged by it."),
        Shown(200, model, example, "The same exists already."),
    )
