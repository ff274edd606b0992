"""The cursor of a list: opaque to callers, to us the place where the page before it ended."""

import base64
import json
from datetime import timedelta

from ingest.catalog.page import Place
from schemas.text import text
from schemas.timestamps import EPOCH

_MICROSECOND = timedelta(microseconds=1)


class NotACursor(ValueError):
    """The text is no cursor of ours."""


def cursor_of(place: Place | None) -> str | None:
    """The cursor that continues after a place."""
    if place is None:
        return None
    inside = json.dumps([(place.at - EPOCH) // _MICROSECOND, place.id])
    return base64.urlsafe_b64encode(inside.encode()).rstrip(b"=").decode("ascii")


def place_of(cursor: str | None) -> Place | None:
    """The inverse of cursor_of(). Raises NotACursor."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        microseconds, row_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        return Place(EPOCH + timedelta(microseconds=microseconds), text(row_id))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise NotACursor from error
