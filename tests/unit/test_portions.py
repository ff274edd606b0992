"""Records of many subscriptions are decided in portions."""

from dataclasses import dataclass

import pytest

from aggregator.engine.sources import portions


@dataclass(frozen=True)
class Keyed:
    key: bytes | None
    number: int


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", [""]),
        ("ab", ["ab"]),
        ("aaaaaaaa", ["aaaaaaaa"]),
        ("abababab", ["abababab"]),
        ("abc", ["ab", "c"]),
        ("aabbccdd", ["aabb", "ccdd"]),
        ("abcabc", ["ab", "ca", "bc"]),
        ("a--b", ["a-", "-b"]),  # without a key it may be anybody's
        ("---", ["--", "-"]),
    ],
)
def test_a_portion_has_records_of_two_keys_at_the_most(keys: str, expected: list[str]) -> None:
    records = [Keyed(None if key == "-" else key.encode(), number) for number, key in enumerate(keys)]
    found = list(portions(records, 2))
    assert [record for portion in found for record in portion] == records
    assert ["".join("-" if record.key is None else record.key.decode() for record in portion) for portion in found] == (
        expected
    )
