"""The records of one subscription among those of all: what a recount of that one reads, and leaves out."""

from collections.abc import Iterable, Iterator

from aggregator.audit.canonical import compact
from aggregator.audit.events import Event, event_of, object_of, text_of
from aggregator.audit.evidence import Record
from schemas.topics import Topic

_ESCAPE = b"\\"


class Selection:
    """The records of a subscription."""

    def __init__(self, subscription_id: str) -> None:
        self.subscription_id = subscription_id
        self._bytes = subscription_id.encode()
        self._key = compact([subscription_id])[:-1] + b","

    def sent(self, records: Iterable[Record], topic: Topic) -> Iterator[Record]:
        """Of a source's records those that are well-formed and name the subscription: no other can charge it."""
        return (record for record in records if self.holds(topic, record.value))

    def keyed(self, records: Iterable[Record]) -> Iterator[Record]:
        """Of records that a worker wrote those with the subscription in their key."""
        return (record for record in records if self.holds_key(record.key))

    def holds(self, topic: Topic, value: bytes | None) -> bool:
        """Whether a value, which arrived on this source, is of the subscription."""
        if value is None or not (self._bytes in value or _ESCAPE in value):  # few are parsed: JSON may escape any text
            return False
        if topic is Topic.USAGE_CORRECTIONS:
            return self._is_voided_in(value)
        event = event_of(value)
        return isinstance(event, Event) and event.subscription_id == self.subscription_id

    def holds_key(self, key: bytes | None) -> bool:
        """Whether a key is an array that begins with the subscription."""
        return key is not None and key.startswith(self._key)

    def _is_voided_in(self, value: bytes) -> bool:
        document = object_of(value)
        key = None if isinstance(document, frozenset) else document.get("uniqueKey")
        return isinstance(key, list) and bool(key) and text_of(key[0]) == self.subscription_id
