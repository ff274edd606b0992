"""A service: what a provider meters and bills."""

from enum import StrEnum
from typing import Annotated, Any

from jiter import LosslessFloat
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from schemas.catalog import WireModel
from schemas.decimals import scaled
from schemas.text import OptionalText, Text


class ServiceStatus(StrEnum):
    """Informative: usage is accepted in each of them."""

    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


class EventKeyScope(StrEnum):
    """Within what an event key is unique; fixed when the service is created (contract rule 4)."""

    SUBSCRIPTION = "SUBSCRIPTION"
    PERIOD = "PERIOD"
    EVENT = "EVENT"


def _whole(value: Any) -> Any:
    """60.0 and 6e1 are the integer 60, as JSON Schema has it; what is not whole is left to be refused."""
    try:
        return scaled(value, 0) if type(value) is LosslessFloat else value
    except PydanticCustomError:
        return value


_Seconds = Annotated[int, Field(strict=True, ge=0, le=10 * 366 * 86_400), BeforeValidator(_whole)]


class NewService(WireModel):
    """A service as a caller asks for it; without an id, Tally chooses one."""

    id: OptionalText = None
    name: Text
    status: ServiceStatus = ServiceStatus.ACTIVE
    event_key_scope: EventKeyScope = EventKeyScope.SUBSCRIPTION
    grace_period_seconds: _Seconds | None = None
    max_event_age_seconds: _Seconds | None = None


class ServiceChange(WireModel):
    """What is to be changed of a service: the fields that are given. Null clears the last two; the scope of its event
    keys may only be given as it is."""

    name: Text = ""
    status: ServiceStatus = ServiceStatus.ACTIVE
    event_key_scope: EventKeyScope | None = None
    grace_period_seconds: _Seconds | None = None
    max_event_age_seconds: _Seconds | None = None


class Service(NewService):
    """A service in the catalog."""

    id: Text
    version: int = 1
