"""The verdict on its way back to whoever waits for it: what `usage-replies` holds, and how a record asks for it.

A record of `usage-events` or `usage-corrections` may carry two headers: the partition of `usage-replies` on which its
sender waits, and a text that the sender knows the answer by. The worker answers after its commit, outside of any
transaction: an answer that is lost costs the sender nothing but time.
"""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas.forwarding import Headers
from schemas.rejection import REASONS, FieldError, Rejection
from schemas.topics import REPLY_PARTITIONS
from schemas.usage_event import shown_usage_event

REPLY_TO: Final = "reply-to"
CORRELATION_ID: Final = "correlation-id"
CORRELATION_BYTES_MAX: Final = 64

_PARTITION_DIGITS_MAX: Final = len(str(REPLY_PARTITIONS))


class ReplyAddress(NamedTuple):
    """Where an answer goes: a partition of `usage-replies`, and the key of the record there."""

    partition: int
    correlation_id: bytes

    def headers(self) -> Headers:
        """The headers that ask for the answer."""
        return [(REPLY_TO, b"%d" % self.partition), (CORRELATION_ID, self.correlation_id)]


def reply_address(headers: Iterable[tuple[str, bytes | None]]) -> ReplyAddress | None:
    """Where the sender of a record waits; None where it does not, or asks for what does not exist."""
    reply_to = correlation_id = None
    for name, value in headers:
        if name == REPLY_TO:
            reply_to = value
        elif name == CORRELATION_ID:
            correlation_id = value
    if reply_to is None or not correlation_id or len(correlation_id) > CORRELATION_BYTES_MAX:
        return None
    if not (reply_to.isdigit() and len(reply_to) <= _PARTITION_DIGITS_MAX and int(reply_to) < REPLY_PARTITIONS):
        return None
    return ReplyAddress(int(reply_to), correlation_id)


class Repeated(NamedTuple):
    """The correction had been made before: there is nothing to show that was not shown then."""


Verdict = bytes | Rejection | Repeated
"""What became of a record: the usage event as callers see it, in JSON; or why it does not count."""

_ACCEPTED: Final = b'{"usageEvent":'
_REPEATED: Final = b'{"repeated":true}'


def accepted_reply(accepted: bytes) -> bytes:
    """The answer to an event that counts, of its value on `accepted-usage`."""
    return _ACCEPTED + shown_usage_event(accepted) + b"}"


def rejected_reply(rejection: Rejection) -> bytes:
    """The answer to a record that does not count."""
    body = rejection.body()
    del body["requestId"]
    return json.dumps({"rejection": body}, ensure_ascii=False, separators=(",", ":")).encode()


def repeated_reply() -> bytes:
    """The answer to a correction that had been made before."""
    return _REPEATED


def verdict_of(reply: bytes) -> Verdict:
    """The inverse of these. Raises ValueError and LookupError for what no worker wrote."""
    if reply.startswith(_ACCEPTED):
        return reply[len(_ACCEPTED) : -1]
    if reply == _REPEATED:
        return Repeated()
    body = json.loads(reply)["rejection"]
    known = {"code", "error", "field", "details"}
    return Rejection(
        REASONS[body["code"]],
        body["error"],
        body["field"],
        tuple(FieldError(one["field"], REASONS[one["code"]], one["message"]) for one in body["details"]),
        {name: value for name, value in body.items() if name not in known},
    )
