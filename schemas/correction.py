"""Corrections of usage: what `usage-corrections` holds. There is one kind, the void of an accepted event."""

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from schemas.catalog import WireModel
from schemas.document import BODY_BYTES_MAX, parse_object, validate
from schemas.rejection import Rejection
from schemas.text import Text
from schemas.usage_event import place_of_id

KEY_PARTS: Final = (2, 3)
"""A unique key is of subscription and event key; under the scopes PERIOD and EVENT there is a third."""


class NewVoid(WireModel):
    """The void of an event as a caller asks for it."""

    reason: Text


def _key(value: Any) -> Any:
    if type(value) is not list or len(value) not in KEY_PARTS:
        raise PydanticCustomError("field_invalid", "must be an array of 2 or 3 strings")
    return tuple(value)


def _id(value: Any) -> Any:
    if type(value) is not str or place_of_id(value) is None:
        raise PydanticCustomError("field_invalid", "must be the id of a usage event")
    return value


@dataclass(slots=True, frozen=True)
class Void:
    """Take back an accepted event: its quantity counts no more, its key stays taken."""

    id: Annotated[str, BeforeValidator(_id)]
    unique_key: Annotated[tuple[Text, ...], BeforeValidator(_key), Field(alias="uniqueKey")]
    reason: Text

    @classmethod
    def of_key(cls, event_id: str, unique_key: bytes, reason: str) -> "Void":
        """The void of the event that took a unique key; the inverse of key_bytes()."""
        return cls(event_id, tuple(json.loads(unique_key)), reason)

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset of the event in `usage-events`."""
        place = place_of_id(self.id)
        assert place is not None, "it was checked when the void was made"
        return place

    @property
    def subscription_id(self) -> str:
        """Whose event it is: the void belongs in the partition of this subscription."""
        return self.unique_key[0]

    def key_bytes(self) -> bytes:
        """The unique key as on `accepted-usage`."""
        return f"[{','.join(encode_basestring(part) for part in self.unique_key)}]".encode()

    def to_json(self) -> bytes:
        """The value on `usage-corrections`."""
        document = {"id": self.id, "uniqueKey": self.unique_key, "reason": self.reason}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


_validate: Final = TypeAdapter(Void).validator.validate_python


def parse_void(value: bytes | None) -> Void | Rejection:
    """The void in a record, or all that is wrong with its shape."""
    document = parse_object(value or b"", BODY_BYTES_MAX)
    return document if isinstance(document, Rejection) else validate(_validate, document)
