"""Columns of Postgres as they go out: times and decimals as text."""

from datetime import datetime
from decimal import Decimal

from schemas.timestamps import milliseconds, timestamp_text


def time_text(at: datetime) -> str:
    """A time, to the millisecond."""
    return timestamp_text(milliseconds(at))


def optional_time_text(at: datetime | None) -> str | None:
    """As time_text(), None for None."""
    return None if at is None else time_text(at)


def number_text(number: Decimal) -> str:
    """A decimal with all the places of its column."""
    return f"{number:f}"


def optional_number_text(number: Decimal | None) -> str | None:
    """As number_text(), None for None."""
    return None if number is None else number_text(number)
