"""What becomes of an event that was handed to the producer: a receipt, or the reason why there is none."""

from typing import ClassVar, NamedTuple

from schemas.rejection import Rejection
from schemas.usage_event import usage_event_id


class Receipt(NamedTuple):
    """The broker has the event, on all in-sync replicas, at this place of `usage-events`."""

    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The id of the usage event."""
        return usage_event_id(self.partition, self.offset)


class PublishError(Exception):
    """There is no receipt for an event. The text is a sentence for whoever sent it."""

    sentence: ClassVar[str] = "The event was not published."

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class InvalidUsageEvent(PublishError):
    """The event is malformed; `rejection` says all that is wrong with it. It was not published."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.error)
        self.rejection = rejection


class Unavailable(PublishError):
    """Kafka is away, and the event was certainly not published."""

    sentence = "Kafka is away and the event was not published; send it again."


class Overloaded(PublishError):
    """As much as may wait for the broker is waiting already. The event was not published."""

    sentence = "Too many events are waiting for Kafka and this one was not published; send it again."


class OutcomeUnknown(PublishError):
    """The event was sent and not acknowledged in time: it may be published, now or later. Sending it again is safe,
    because a second copy is refused as a duplicate."""

    sentence = (
        "Kafka did not acknowledge the event in time, so its outcome is unknown; the same event may be sent again."
    )


Outcome = Receipt | PublishError
