"""The trace that a request belongs to, as W3C Trace Context has it: handed on to the events that it records, and named
in the log. Tally makes no spans of its own."""

import re
from collections.abc import Iterable
from typing import Final

from schemas.forwarding import Headers

TRACEPARENT: Final = "traceparent"

_VALUE: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The header to send on; none where the request has none, several, or one that is malformed."""
    given = [value for name, value in headers if name == b"traceparent"]
    return [(TRACEPARENT, given[0])] if len(given) == 1 and _VALUE(given[0]) else []


def log_fields(headers: Iterable[tuple[bytes, bytes]], request_id: str | None) -> dict[str, str | None]:
    """By which a line of the log is found again."""
    return {"request_id": request_id, **{name: value.decode() for name, value in trace_headers(headers)}}
