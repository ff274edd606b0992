"""Usage events over HTTP: read, checked, published, and answered with what the worker has decided."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ingest.gateway.answer import Answer, json_bytes, refusal
from ingest.gateway.batch import parse_batch, parse_lines
from ingest.gateway.body import JSON, NDJSON, Receive, media_type, read_body
from ingest.gateway.first_events import FirstEvents, with_first_event
from ingest.gateway.hidden import Hidden
from ingest.gateway.prefer import Preference, preference
from ingest.gateway.tracing import trace_headers
from ingest.gateway.verdicts import Verdicts
from ingest.keys import ApiKey
from ingest.metrics import USAGE_EVENTS
from ingest.outcome import InvalidUsageEvent, Outcome, OutcomeUnknown, PublishError, Receipt
from ingest.producer import UsageProducer
from schemas.document import BODY_BYTES_MAX
from schemas.forwarding import Headers
from schemas.rejection import Reason, Rejection
from schemas.reply import Verdict
from schemas.usage_event import BATCH_BYTES_MAX, UsageEvent, parse_usage_event

PATH: Final = "/api/v1/usage-events"

_RECORDED = USAGE_EVENTS.labels("recorded")
_PENDING = USAGE_EVENTS.labels("pending")

RequestHeaders = Iterable[tuple[bytes, bytes]]

Judged = Rejection | PublishError | tuple[Receipt, Verdict | None]
"""What became of an event: it was refused before it was published, or it was not, or it was and this was decided of it
in time."""


class UsageEvents:
    """Answers the two requests that record usage. A 201 or 202 means that the broker has the event."""

    def __init__(
        self,
        producer: UsageProducer,
        verdicts: Verdicts,
        first_events: FirstEvents,
        hidden: Hidden,
        body_seconds: float,
    ) -> None:
        self._producer = producer
        self._verdicts = verdicts
        self._first_events = first_events
        self._hidden = hidden
        self._body_seconds = body_seconds

    async def post_one(self, key: ApiKey, headers: RequestHeaders, receive: Receive, request_id: str) -> Answer:
        """POST /usage-events."""
        body = await read_body(headers, receive, BODY_BYTES_MAX, self._body_seconds)
        event = body if isinstance(body, Rejection) else _visible(parse_usage_event(body), key)
        if isinstance(event, Rejection):
            return _refused(event, request_id)
        return await self.publish(event, key, preference(headers), request_id, trace_headers(headers))

    async def publish(
        self, event: UsageEvent, key: ApiKey, wish: Preference, request_id: str, trace: Headers
    ) -> Answer:
        """Publish an event and answer as POST /usage-events does."""
        (judged,) = await self._judge([event], key, wish, trace)
        if isinstance(judged, PublishError):
            return _refused(_rejection(judged), request_id)
        assert isinstance(judged, tuple), "it is well-formed"
        receipt, verdict = judged
        location = (b"location", f"{PATH}/{receipt.id}".encode())
        if isinstance(verdict, bytes):
            _RECORDED.inc()
            return Answer(201, b'{"usageEvent":%b}' % verdict, [location, *wish.headers()])
        if isinstance(verdict, Rejection):
            shown = await self._first_events.shown([verdict])
            answer = _refused(with_first_event(verdict, shown), request_id)
            return answer._replace(headers=[*answer.headers, *wish.headers()])
        _PENDING.inc()
        return Answer(202, b'{"receipt":%b}' % _pending(receipt), [location, *wish.headers()])

    async def post_batch(self, key: ApiKey, headers: RequestHeaders, receive: Receive, request_id: str) -> Answer:
        """POST /usage-events/batch."""
        body = await read_body(headers, receive, BATCH_BYTES_MAX, self._body_seconds, (JSON, NDJSON))
        parse = parse_lines if media_type(headers) == NDJSON else parse_batch
        items = body if isinstance(body, Rejection) else parse(body)
        if isinstance(items, Rejection):
            return _refused(items, request_id)
        wish = preference(headers)
        judged = await self._judge([_visible(item, key) for item in items], key, wish, trace_headers(headers))
        if (failure := _common_failure(judged)) is not None:
            return _refused(_rejection(failure), request_id)
        shown = await self._first_events.shown(
            one[1] for one in judged if isinstance(one, tuple) and isinstance(one[1], Rejection)
        )
        results = b",".join(_results(judged, shown, request_id))
        return Answer(207, b'{"results":[%b]}' % results, wish.headers())

    async def _judge(
        self, items: Sequence[UsageEvent | Rejection], key: ApiKey, wish: Preference, trace: Headers
    ) -> list[Judged]:
        """Publish what is well-formed, and wait for the verdicts; what became of each item, in order."""
        events = [item for item in items if isinstance(item, UsageEvent)]
        expected = self._verdicts.expect(len(events)) if wish.seconds and events else None
        outcomes: list[Outcome]
        verdicts: list[Verdict | None]
        with expected or contextlib.nullcontext():
            headers: Sequence[Headers] = [trace] * len(events)
            if expected is not None:
                headers = [[*expected.headers(number), *trace] for number in range(len(events))]
            try:
                outcomes = await self._producer.publish_many(events, headers)
            except PublishError as error:
                outcomes = [error] * len(events)
            if expected is None:
                verdicts = [None] * len(events)
            else:
                for number, outcome in enumerate(outcomes):
                    if isinstance(outcome, PublishError):
                        expected.forgo(number)
                verdicts = await expected.wait(wish.seconds)
        verdicts = await self._hidden.shown_to(key, events, verdicts)
        published = zip(outcomes, verdicts, strict=True)
        return [_judged(*next(published)) if isinstance(item, UsageEvent) else item for item in items]


def _judged(outcome: Outcome, verdict: Verdict | None) -> Judged:
    return (outcome, verdict) if isinstance(outcome, Receipt) else outcome


def _visible(event: UsageEvent | Rejection, key: ApiKey) -> UsageEvent | Rejection:
    """The event, unless it is of a service that the key may not know of."""
    if isinstance(event, Rejection) or key.sees(event.service_id):
        return event
    return Rejection.of(Reason.SERVICE_NOT_FOUND, "serviceId")


def _common_failure(judged: list[Judged]) -> PublishError | None:
    """Where no event got a receipt, why: one that may be published all the same decides what is said."""
    published = [one for one in judged if not isinstance(one, Rejection)]
    failures = [one for one in published if isinstance(one, PublishError)]
    if not failures or len(failures) < len(published):
        return None
    return next((failure for failure in failures if isinstance(failure, OutcomeUnknown)), failures[0])


def _results(judged: list[Judged], shown: dict[str, dict[str, Any]], request_id: str) -> list[bytes]:
    results, recorded, pending = [], 0, 0  # a metric takes longer to count one than it takes to write the result
    for one in judged:
        if isinstance(one, tuple):
            receipt, verdict = one
            if isinstance(verdict, bytes):
                recorded += 1
                results.append(b'{"status":201,"usageEvent":%b}' % verdict)
                continue
            if not isinstance(verdict, Rejection):
                pending += 1
                results.append(b'{"status":202,"receipt":%b}' % _pending(receipt))
                continue
            rejection = with_first_event(verdict, shown)
        else:
            rejection = one if isinstance(one, Rejection) else _rejection(one)
        USAGE_EVENTS.labels(rejection.reason.value).inc()
        results.append(json_bytes({"status": rejection.reason.status, **rejection.body(request_id)}))
    _RECORDED.inc(recorded)
    _PENDING.inc(pending)
    return results


def _pending(receipt: Receipt) -> bytes:
    return b'{"id":"%b","status":"PENDING"}' % receipt.id.encode()


def _refused(rejection: Rejection, request_id: str) -> Answer:
    USAGE_EVENTS.labels(rejection.reason.value).inc()
    return refusal(rejection, request_id)


def _rejection(error: PublishError) -> Rejection:
    return error.rejection if isinstance(error, InvalidUsageEvent) else Rejection(Reason.UNAVAILABLE, str(error))
