"""Times against the standard library's datetime."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from schemas.timestamps import (
    aware_datetime,
    milliseconds,
    optional_timestamp,
    optional_timestamp_of_own,
    optional_timestamp_text,
    parse_anchor,
    parse_timestamp,
    timestamp_of_own,
    timestamp_text,
)
from tests.unit.world import ms

INVALID = "timestamp_invalid"


def outcome(value: Any) -> str:
    """The time as text in UTC, or the code of the refusal."""
    try:
        return timestamp_text(parse_timestamp(value))
    except PydanticCustomError as error:
        return error.type


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31 12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00.000Z"),  # no offset is UTC
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000Z"),
        ("2026-01-31T23:30:00-01:45", "2026-02-01T01:15:00.000Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500Z"),
        ("2026-01-31T12:00:00.123999999999Z", "2026-01-31T12:00:00.123Z"),  # cut off, never rounded up
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("2023-02-29T00:00:00Z", INVALID),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00.000Z"),
        ("1999-12-31T23:59:59.999Z", INVALID),
        ("2000-01-01T00:00:00+00:01", INVALID),  # 1999 in UTC
        ("2100-12-31T23:59:59.999Z", "2100-12-31T23:59:59.999Z"),
        ("2101-01-01T00:00:00Z", INVALID),
        ("2100-12-31T23:59:59-00:01", INVALID),  # 2101 in UTC
        # The same bounds, less exactly as Tally writes times: other code reads these.
        ("1999-12-31T23:59:59.9999Z", INVALID),
        ("2000-01-01T00:00:00.0000Z", "2000-01-01T00:00:00.000Z"),
        ("2100-12-31T23:59:59.9999Z", "2100-12-31T23:59:59.999Z"),
        ("2101-01-01T00:00:00.000Z", INVALID),
        ("2023-02-29T00:00:00.000Z", INVALID),
        ("2026-01-31T24:00:00.000Z", INVALID),
        ("2026-01-31T12:60:00.000Z", INVALID),
        ("2026-12-31T23:59:60.000Z", INVALID),
        ("2026-01-31T23:59:59.001Z", "2026-01-31T23:59:59.001Z"),
        ("2026-01-31T12:00:00.00٠Z", INVALID),
        ("2026-01-31T12:00:00.000Z\n", INVALID),
        ("2026-01-31", INVALID),
        ("2026-01-31T12:00Z", INVALID),
        ("2026-1-31T12:00:00Z", INVALID),
        ("2026-W05-6T12:00:00Z", INVALID),
        ("20260131T120000Z", INVALID),
        ("2026-13-01T00:00:00Z", INVALID),
        ("2026-00-01T00:00:00Z", INVALID),
        ("0000-01-01T00:00:00Z", INVALID),
        ("2026-01-31T24:00:00Z", INVALID),
        ("2026-01-31T12:60:00Z", INVALID),
        ("2026-12-31T23:59:60Z", INVALID),  # a leap second: no clock of ours shows one
        ("2026-01-31T12:00:00+24:00", INVALID),
        ("2026-01-31T12:00:00+0200", INVALID),
        ("2026-01-31T12:00:00.Z", INVALID),
        ("2026-01-31T12:00:00,5Z", INVALID),
        ("2026-01-31T12:00:00Z ", INVALID),
        ("2026-01-31T12:00:00Z\n", INVALID),
        ("٢٠٢٦-01-31T12:00:00Z", INVALID),
        ("2026-01-31T12:00:00." + "0" * 43 + "Z", "2026-01-31T12:00:00.000Z"),  # 64 characters
        ("2026-01-31T12:00:00." + "0" * 44 + "Z", INVALID),
        ("now", INVALID),
        ("", INVALID),
        (1769860800, INVALID),  # a number may be seconds or milliseconds
        (True, INVALID),
        (None, INVALID),
        (["2026-01-31T12:00:00Z"], INVALID),
    ],
)
def test_timestamp(value: Any, expected: str) -> None:
    assert outcome(value) == expected


offsets = st.integers(min_value=-(23 * 60 + 59), max_value=23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(
    min_value=datetime(2000, 1, 3),  # noqa: DTZ001  # the zone is drawn beside it
    max_value=datetime(2100, 12, 29),  # noqa: DTZ001
    timezones=st.one_of(st.just(UTC), offsets),
)


@given(moments, st.sampled_from(["T", "t", " "]), st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_timestamp_agrees_with_datetime(moment: datetime, separator: str, digits: str) -> None:
    text = moment.isoformat(sep=separator, timespec=digits)
    seconds = {"seconds": 0, "milliseconds": moment.microsecond // 1000 * 1000}.get(digits, moment.microsecond)
    assert parse_timestamp(text) == ms(moment.replace(microsecond=seconds).isoformat())


@given(st.integers(min_value=ms("1900-01-01T00:00:00Z"), max_value=ms("2200-01-01T00:00:00Z")))
def test_text_agrees_with_datetime_and_is_read_back(at: int) -> None:
    text = timestamp_text(at)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    assert text == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert timestamp_of_own(text) == at
    assert (milliseconds(moment), aware_datetime(at)) == (at, moment)


def test_null_means_omitted_where_a_timestamp_is_optional() -> None:
    assert optional_timestamp(None) is None
    assert optional_timestamp_text(None) is None
    assert optional_timestamp_of_own(None) is None
    assert optional_timestamp("2026-01-01T00:00:00Z") == ms("2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1999-12-15T00:00:00.000Z", ms("1999-12-15T00:00:00Z")),  # the month of usage on 2000-01-01, anchored at 15
        ("2101-01-15T00:00:00.000Z", ms("2101-01-15T00:00:00Z")),
    ],
)
def test_a_time_that_tally_wrote_may_lie_outside_of_2000_to_2100(text: str, at: int) -> None:
    assert timestamp_text(at) == text
    assert timestamp_of_own(text) == at


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1969-12-31T23:59:59.999Z", None),
        ("1970-01-01T00:00:00+00:01", None),
        ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59-01:00", "1970-01-01T00:59:59.000Z"),
        ("1999-12-31T23:59:59.9999Z", "1999-12-31T23:59:59.999Z"),
        ("2100-12-31T23:59:59.999Z", "2100-12-31T23:59:59.999Z"),
        ("2101-01-01T00:00:00Z", None),
        ("1970-02-29T00:00:00Z", None),
        (0, None),
        (None, None),
    ],
)
def test_an_anchor_may_be_as_old_as_1970(value: Any, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(PydanticCustomError, match="in the years 1970-2100"):
            parse_anchor(value)
    else:
        assert timestamp_text(parse_anchor(value)) == expected
