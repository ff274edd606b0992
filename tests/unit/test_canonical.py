"""Canonical JSON by the examples of RFC 8785, sections 3.2.2 and 3.2.3."""

import hashlib
from typing import Any

import pytest

from schemas.canonical import canonical_json, digest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ([], "[]"),
        ({"literals": [None, True, False]}, '{"literals":[null,true,false]}'),
        ({"b": {"d": 1, "c": 2}, "a": [{"z": 1, "y": 2}]}, '{"a":[{"y":2,"z":1}],"b":{"c":2,"d":1}}'),
        ((1, (2, 3)), "[1,[2,3]]"),
        ([0, -1, 9007199254740991], "[0,-1,9007199254740991]"),
        # Only what JSON requires is escaped, with the two-character form where there is one.
        ('\u20ac$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ("\b\t\n\f\r\x00\x1f", '"\\b\\t\\n\\f\\r\\u0000\\u001f"'),
        ("\x7f\u0080\u2028\U0001f600", '"\x7f\u0080\u2028\U0001f600"'),
        ("e\u0301", '"e\u0301"'),  # no normalisation
    ],
)
def test_canonical_json(value: Any, expected: str) -> None:
    assert canonical_json(value).decode() == expected


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    """An emoji is two units that begin with D83D, and so comes before U+FB33."""
    names = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert canonical_json(names).decode() == (
        '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"'
        ',"\u20ac":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
    )


@pytest.mark.parametrize("value", [1.0, [1.5], {"a": float("nan")}])
def test_a_float_has_no_place_in_a_record(value: Any) -> None:
    with pytest.raises(AssertionError):
        canonical_json(value)


def test_digest_is_the_sha_256_of_the_record_without_it() -> None:
    expected = hashlib.sha256(b'{"a":"1.000000","b":[1,2]}').hexdigest()
    assert digest({"b": [1, 2], "a": "1.000000"}) == expected
    assert digest({"b": [1, 2], "digest": "whatever", "a": "1.000000"}) == expected
    assert digest({"b": [2, 1], "a": "1.000000"}) != expected
    assert digest({"b": [1, 2], "a": "1.000000", "nested": {"digest": "1"}}) != digest(
        {"b": [1, 2], "a": "1.000000", "nested": {"digest": "2"}}
    )
