from typing import Any

import pytest
from pydantic import BaseModel

from schemas.document import BODY_BYTES_MAX, parse_object, validate
from schemas.rejection import Reason, Rejection
from schemas.text import Text


def outcome(body: bytes) -> Any:
    """The object, or the code of the refusal."""
    parsed = parse_object(body)
    return parsed.reason.value if isinstance(parsed, Rejection) else parsed


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    """An object of this depth: itself, and what it holds."""
    inner = depth - 1
    return f'{{"x":{opening * inner}1{closing * inner}}}'.encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' \r\n{"a":"b"}\t', {"a": "b"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
        (b'{"a":' + b"9" * 40 + b"}", {"a": int("9" * 40)}),
        (b"", "invalid_body"),
        (b" ", "invalid_body"),
        (b"null", "invalid_body"),
        (b'"{}"', "invalid_body"),
        (b"5", "invalid_body"),
        (b'[{"a":1}]', "invalid_body"),
        (b'{"a":1} x', "invalid_body"),
        (b'{"a":1}{"a":2}', "invalid_body"),
        (b'{"a":1}\n{"a":2}', "invalid_body"),
        (b'{"a":1', "invalid_body"),
        (b'{"a":1,}', "invalid_body"),
        (b"{'a':1}", "invalid_body"),
        (b"{a:1}", "invalid_body"),
        (b'{"a":1/*b*/}', "invalid_body"),
        (b'{"a":NaN}', "invalid_body"),
        (b'{"a":Infinity}', "invalid_body"),
        (b'{"a":-Infinity}', "invalid_body"),
        (b'{"a":1,"a":1}', "invalid_body"),
        (b'{"a":1,"\\u0061":2}', "invalid_body"),
        (b'{"x":{"a":1,"a":2}}', "invalid_body"),
        (b'{"a":"b\x00c"}', "invalid_body"),
        (b'{"a":"b\nc"}', "invalid_body"),
        (b'{"a":"\\ud800"}', "invalid_body"),
        (b'{"a":"\xe9"}', "invalid_body"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_body"),  # a surrogate in UTF-8
        (b'\xef\xbb\xbf{"a":1}', "invalid_body"),
        ('{"a":1}'.encode("utf-16"), "invalid_body"),
        (b'{"a":' + b"9" * 5_000 + b"}", "invalid_body"),
    ],
)
def test_body(body: bytes, expected: Any) -> None:
    assert outcome(body) == expected


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('{"b":[', "]}")])
def test_a_body_is_nested_up_to_32_deep(opening: str, closing: str) -> None:
    step = opening.count("[") + opening.count("{")
    levels_max = 1 + 31 // step  # itself is the first level
    assert isinstance(outcome(nested(levels_max, opening, closing)), dict)
    assert outcome(nested(levels_max + 1, opening, closing)) == "invalid_body"


def test_a_body_of_many_brackets_is_nested_up_to_32_deep_all_the_same() -> None:
    assert isinstance(outcome(b'{"y":[],"x":' + b"[" * 31 + b"]" * 31 + b"}"), dict)
    assert outcome(b'{"y":[],"x":' + b"[" * 32 + b"]" * 32 + b"}") == "invalid_body"


def test_the_deepest_level_counts_when_it_is_empty() -> None:
    assert isinstance(outcome(b'{"x":' + b"[" * 31 + b"]" * 31 + b"}"), dict)
    assert outcome(b'{"x":' + b"[" * 32 + b"]" * 32 + b"}") == "invalid_body"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b"[{" * 1_000 + b'"}',  # brackets in text
        b'{"a":[' + b",".join([b"[]"] * 1_000) + b"]}",  # many, side by side
    ],
)
def test_brackets_alone_make_no_depth(body: bytes) -> None:
    assert isinstance(outcome(body), dict)


@pytest.mark.parametrize("body", [b"[" * 50_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_a_bomb_of_brackets_is_refused(body: bytes) -> None:
    assert outcome(body) == "invalid_body"


def test_a_body_has_64_kib_at_most() -> None:
    frame = len(b'{"a":""}')
    assert isinstance(outcome(b'{"a":"' + b"x" * (BODY_BYTES_MAX - frame) + b'"}'), dict)
    assert outcome(b'{"a":"' + b"x" * (BODY_BYTES_MAX - frame + 1) + b'"}') == "body_too_large"
    assert BODY_BYTES_MAX == 64 * 1024


@pytest.mark.parametrize(
    "body",
    [b"x" * (BODY_BYTES_MAX + 1), b"{" + b",".join(b'"k%d":1' % n for n in range(1_000_000)) + b"}"],
    ids=["no JSON at all", "a million keys"],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_parsed(body: bytes) -> None:
    assert outcome(body) == "body_too_large"


class _Pair(BaseModel):
    left: Text
    right: dict[str, int]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"left": "a", "right": {"b": 1}}, []),
        ({"right": {}}, [("left", "field_required", "left is required.")]),
        ({"left": None, "right": {}}, [("left", "field_required", "left is required.")]),
        ({"left": " ", "right": {}}, [("left", "field_invalid", "left must not be blank.")]),
        (
            {"left": 5, "right": {"b": "x"}},
            [
                ("left", "field_invalid", "left must be a string."),
                (
                    "right.b",
                    "field_invalid",
                    "right.b input should be a valid integer, unable to parse string as an integer.",
                ),
            ],
        ),
    ],
)
def test_every_error_of_shape_is_listed_and_the_first_is_at_the_top(
    document: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    validated = validate(_Pair.model_validate, document)
    if not expected:
        assert isinstance(validated, _Pair)
        return
    assert isinstance(validated, Rejection)
    assert [(error.field, error.reason.value, error.sentence) for error in validated.details] == expected
    assert (validated.field, validated.reason.value, validated.error) == expected[0]
    assert validated.reason in Reason
