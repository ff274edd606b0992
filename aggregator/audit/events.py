"""A usage event, read anew from the bytes that arrived (contract section 1)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NoReturn

from aggregator.audit.amounts import Number, quantity_of, quantity_text
from aggregator.audit.times import time_of
from schemas.rejection import Reason

BODY_BYTES_MAX: Final = 64 * 1024
NESTING_MAX: Final = 32
TEXT_LENGTH_MAX: Final = 255

Codes = frozenset[str]
"""Reasons for which a record may be refused. More than one only where the contract does not say which of them."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_SURROGATE = re.compile("[\ud800-\udfff]").search


@dataclass(slots=True)
class Event:
    """A well-formed usage event. `quantity` has 6 decimals, `occurred_at` is in ms; None means omitted."""

    service_id: str
    subscription_id: str
    user_id: str
    event_key: str
    quantity: str
    occurred_at: int | None
    invoice_id: str | None
    event_id: str | None

    @property
    def meter(self) -> str:
        """The part of the key before the first '#'; the whole key where that is nothing."""
        return self.event_key.partition("#")[0] or self.event_key

    def fingerprint(self) -> bytes:
        """16 bytes that identical events share: what `accepted-usage` holds under this name, as it has been since the
        first release."""
        content = "\n".join(
            (
                *(self.service_id, self.user_id, str(int(self.quantity.replace(".", "")))),
                *(self.invoice_id or "", self.event_id or ""),
                "" if self.occurred_at is None else str(self.occurred_at),
            )
        )
        return blake2b(content.encode(), digest_size=16).digest()


def event_of(value: bytes | None) -> Event | Codes:
    """The event in a record, or the codes that it may be refused with. Of several bad fields the first one counts."""
    document = object_of(value)
    if isinstance(document, frozenset):
        return document
    fields: list[Any] = []
    for name, read in _FIELDS:
        field = read(document.get(name))
        if isinstance(field, frozenset):
            return field
        fields.append(field)
    return Event(*fields)


def object_of(value: bytes | None, bytes_max: int = BODY_BYTES_MAX) -> dict[str, Any] | Codes:
    """The JSON object in a record, its numbers as the digits that stand there, or why there is none."""
    if value is not None and len(value) > bytes_max:
        return frozenset({Reason.BODY_TOO_LARGE})
    try:
        document = _DECODER.decode((value or b"").decode())
    except (ValueError, RecursionError):
        return frozenset({Reason.INVALID_BODY})
    if type(document) is not dict:
        return frozenset({Reason.INVALID_BODY})
    assert value is not None
    if value.count(b"{") + value.count(b"[") > NESTING_MAX and _depth(document) > NESTING_MAX:
        return frozenset({Reason.INVALID_BODY})
    if b"\\u" in value and any(_SURROGATE(text) for text in _texts(document)):
        return frozenset({Reason.INVALID_BODY, Reason.FIELD_INVALID})
    return document


def text_of(value: Any) -> str | Codes:
    """The trimmed text of a field, or why it is none."""
    if value is None:
        return frozenset({Reason.FIELD_REQUIRED})
    if type(value) is not str or _FORBIDDEN(value):
        return frozenset({Reason.FIELD_INVALID})
    trimmed = value.strip()
    return trimmed if 0 < len(trimmed) <= TEXT_LENGTH_MAX else frozenset({Reason.FIELD_INVALID})


def _optional_text(value: Any) -> str | Codes | None:
    return None if value is None else text_of(value)


def _quantity(value: Any) -> str | Codes:
    quantity = quantity_of(value)
    return quantity_text(quantity) if isinstance(quantity, Decimal) else quantity


def _optional_time(value: Any) -> int | Codes | None:
    if value is None:
        return None
    at = time_of(value)
    return frozenset({Reason.TIMESTAMP_INVALID}) if at is None else at


_FIELDS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    *((name, text_of) for name in ("serviceId", "subscriptionId", "userId", "eventKey")),
    ("quantity", _quantity),
    ("occurredAt", _optional_time),
    ("invoiceId", _optional_text),
    ("eventId", _optional_text),
)


def _unrepeated(members: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a name occurs twice")
    return document


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unrepeated, parse_int=Number, parse_float=Number, parse_constant=_refuse
)


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
    return depth


def _children(node: Any) -> Iterator[Any]:
    yield from node.values() if isinstance(node, dict) else node


def _texts(document: Any) -> Iterator[str]:
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            waiting.extend((*node.keys(), *node.values()))
        elif isinstance(node, list):
            waiting.extend(node)
