import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from schemas.text import optional_text, text


def outcome(value: Any) -> str:
    """The text, or the code of the refusal in angle brackets."""
    try:
        return text(value)
    except PydanticCustomError as error:
        return f"<{error.type}>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("token_generated#req-42", "token_generated#req-42"),
        ("  two words \u00a0\u2003", "two words"),
        ("Straße, 東京, 😀", "Straße, 東京, 😀"),
        ("e\u0301", "e\u0301"),  # not normalised to é
        ("\u00e9", "\u00e9"),
        ("a\u200bb\ufeff", "a\u200bb\ufeff"),  # invisible, and no control character
        ("x" * 255, "x" * 255),
        ("😀" * 255, "😀" * 255),  # characters, not bytes or UTF-16 units
        (" " * 300 + "x" * 255 + " " * 300, "x" * 255),
        ("x" * 256, "<field_invalid>"),
        ("", "<field_invalid>"),
        (" \u00a0\u3000", "<field_invalid>"),
        ("a\u0000b", "<field_invalid>"),
        ("\tab", "<field_invalid>"),
        ("ab\n", "<field_invalid>"),
        ("a\u0085b", "<field_invalid>"),
        ("a\u2028b", "<field_invalid>"),
        ("a\u2029b", "<field_invalid>"),
        ("a\ud800b", "<field_invalid>"),
        (None, "<field_required>"),
        (5, "<field_invalid>"),
        (True, "<field_invalid>"),
        (b"ab", "<field_invalid>"),
        (["ab"], "<field_invalid>"),
    ],
)
def test_text(value: Any, expected: str) -> None:
    assert outcome(value) == expected


def test_control_characters_separators_and_surrogates_are_all_that_is_refused() -> None:
    """The whole Basic Multilingual Plane; beyond it Unicode has none of the four categories."""
    refused = {code for code in range(0x10000) if outcome(f"a{chr(code)}b") == "<field_invalid>"}
    assert refused == {code for code in range(0x10000) if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp", "Cs"}}


@given(st.text(max_size=40))
def test_what_is_accepted_fits_utf_8_and_255_characters_and_is_stable(value: str) -> None:
    accepted = outcome(value)
    if not accepted.startswith("<field_"):
        assert accepted.encode().decode() == value.strip()
        assert 1 <= len(accepted) <= 255
        assert text(accepted) == accepted


def test_null_means_omitted_where_text_is_optional() -> None:
    assert optional_text(None) is None
    assert optional_text(" a ") == "a"
