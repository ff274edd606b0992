"""The cursor of a list."""

from datetime import UTC, datetime

import pytest

from ingest.catalog.page import Place
from ingest.gateway.cursor import NotACursor, cursor_of, place_of


@pytest.mark.parametrize(
    "place",
    [
        Place(datetime(2026, 1, 31, 12, 0, 0, 123456, UTC), "sub_1"),
        Place(datetime(2000, 1, 1, tzinfo=UTC), 'a/b "ü" \U0001f600'),
        Place(datetime(2100, 12, 31, 23, 59, 59, 999999, UTC), "x" * 255),
    ],
)
def test_cursor_leads_back_to_its_place(place: Place) -> None:
    cursor = cursor_of(place)
    assert cursor is not None
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert place_of(cursor) == place


def test_last_page_has_no_cursor_and_the_first_needs_none() -> None:
    assert cursor_of(None) is None
    assert place_of(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "ü",
        "bnVsbA",  # null
        "W10",  # []
        "WzFd",  # [1]
        "eyJhIjoxLCJiIjoyfQ",  # {"a":1,"b":2}
        "WyJhIiwiYiJd",  # ["a","b"]
        "WzEsMl0",  # [1,2]
        "WzEsIiJd",  # [1,""]
        "WzFlNDAwLCJhIl0",  # [1e400,"a"]
        "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwLCJhIl0",  # [10000000000000000000000,"a"]
        "WzEsImFcdTAwMDAiXQ",  # [1,"a\u0000"]
        "W" * 100_000,
    ],
)
def test_anything_else_is_no_cursor(cursor: str) -> None:
    with pytest.raises(NotACursor):
        place_of(cursor)
