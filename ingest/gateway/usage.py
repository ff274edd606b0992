"""Usage events over HTTP: read, checked, published, answered."""

from collections.abc import Iterable, Iterator
from typing import Final

from ingest.gateway.answer import Answer, json_bytes, refusal
from ingest.gateway.batch import parse_batch
from ingest.gateway.body import Receive, read_body
from ingest.keys import ApiKey
from ingest.metrics import USAGE_EVENTS
from ingest.outcome import InvalidUsageEvent, Outcome, OutcomeUnknown, PublishError, Receipt
from ingest.producer import UsageProducer
from schemas.document import BODY_BYTES_MAX
from schemas.rejection import Reason, Rejection
from schemas.usage_event import BATCH_BYTES_MAX, UsageEvent, parse_usage_event

PATH: Final = "/api/v1/usage-events"

_PUBLISHED = USAGE_EVENTS.labels("published")

RequestHeaders = Iterable[tuple[bytes, bytes]]


class UsageEvents:
    """Answers the two requests that record usage. A 202 means that the broker has the event."""

    def __init__(self, producer: UsageProducer, body_seconds: float) -> None:
        self._producer = producer
        self._body_seconds = body_seconds

    async def post_one(self, key: ApiKey, headers: RequestHeaders, receive: Receive, request_id: str) -> Answer:
        """POST /usage-events."""
        body = await read_body(headers, receive, BODY_BYTES_MAX, self._body_seconds)
        event = body if isinstance(body, Rejection) else _visible(parse_usage_event(body), key)
        if isinstance(event, Rejection):
            return _refused(event, request_id)
        try:
            receipt = await self._producer.publish(event)
        except PublishError as error:
            return _refused(_rejection(error), request_id)
        _PUBLISHED.inc()
        location = (b"location", f"{PATH}/{receipt.id}".encode())
        return Answer(202, b'{"receipt":{"id":"%b","status":"PENDING"}}' % receipt.id.encode(), [location])

    async def post_batch(self, key: ApiKey, headers: RequestHeaders, receive: Receive, request_id: str) -> Answer:
        """POST /usage-events/batch."""
        body = await read_body(headers, receive, BATCH_BYTES_MAX, self._body_seconds)
        items = body if isinstance(body, Rejection) else parse_batch(body)
        if isinstance(items, Rejection):
            return _refused(items, request_id)
        checked = [_visible(item, key) for item in items]
        try:
            outcomes = await self._producer.publish_many(item for item in checked if isinstance(item, UsageEvent))
        except PublishError as error:
            return _refused(_rejection(error), request_id)
        if (failure := _common_failure(outcomes)) is not None:
            return _refused(_rejection(failure), request_id)
        results = b",".join(_results(checked, outcomes, request_id))
        return Answer(207, b'{"results":[%b]}' % results, [])


def _visible(event: UsageEvent | Rejection, key: ApiKey) -> UsageEvent | Rejection:
    """The event, unless it is of a service that the key may not know of."""
    if isinstance(event, Rejection) or key.sees(event.service_id):
        return event
    return Rejection.of(Reason.SERVICE_NOT_FOUND, "serviceId")


def _common_failure(outcomes: list[Outcome]) -> PublishError | None:
    """Where no event got a receipt, why: one that may be published all the same decides what is said."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, PublishError)]
    if not failures or len(failures) < len(outcomes):
        return None
    return next((failure for failure in failures if isinstance(failure, OutcomeUnknown)), failures[0])


def _results(checked: list[UsageEvent | Rejection], outcomes: list[Outcome], request_id: str) -> Iterator[bytes]:
    following = iter(outcomes)
    published = 0
    for item in checked:
        outcome = item if isinstance(item, Rejection) else next(following)
        if isinstance(outcome, Receipt):
            published += 1
            yield b'{"status":202,"receipt":{"id":"%b","status":"PENDING"}}' % outcome.id.encode()
        else:
            rejection = outcome if isinstance(outcome, Rejection) else _rejection(outcome)
            USAGE_EVENTS.labels(rejection.reason.value).inc()
            yield json_bytes({"status": rejection.reason.status, **rejection.body(request_id)})
    _PUBLISHED.inc(published)


def _refused(rejection: Rejection, request_id: str) -> Answer:
    USAGE_EVENTS.labels(rejection.reason.value).inc()
    return refusal(rejection, request_id)


def _rejection(error: PublishError) -> Rejection:
    return error.rejection if isinstance(error, InvalidUsageEvent) else Rejection(Reason.UNAVAILABLE, str(error))
