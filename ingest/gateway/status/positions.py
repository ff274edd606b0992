"""The positions of the workers, and whether the ledger in each adds up."""

import json
from typing import Any, Final

from schemas.position import Position
from schemas.topics import Topic

_UNREADABLE: Final = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


class UnreadablePosition(Exception):
    """A record of `aggregator-positions` that no worker can have written; the message says what is wrong with it."""


def position_of(value: Any) -> Position:
    """The position in a record's value. Raises UnreadablePosition."""
    try:
        position = Position.of_json(value)
    except _UNREADABLE as error:
        if isinstance(error, AssertionError):
            raise UnreadablePosition(
                f"The ledger does not add up: {json.dumps(json.loads(value)['ledger'])}"
            ) from error
        raise UnreadablePosition("The position is not one that a worker wrote.") from error
    received, offsets = position.ledger.received, position.positions[Topic.USAGE_EVENTS]
    if received > offsets:
        raise UnreadablePosition(f"The ledger has {received} received of {offsets} offsets.")
    return position
