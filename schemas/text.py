"""Text that people and programs choose: ids, event keys, names (contract section 1)."""

import re
from typing import Annotated, Any, Final

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

LENGTH_MAX: Final = 255

# Categories Cc, Zl, Zp and Cs: what breaks a log line, a Postgres text or a UTF-8 encoder.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search


def text(value: Any) -> str:
    """The string without surrounding blanks, 1-255 characters; no Unicode normalisation.

    Raises PydanticCustomError of type field_required or field_invalid.
    """
    if type(value) is not str:
        if value is None:
            raise PydanticCustomError("field_required", "is required")
        raise PydanticCustomError("field_invalid", "must be a string")
    if not value.isprintable() and _FORBIDDEN(value):
        raise PydanticCustomError(
            "field_invalid",
            "must not hold control characters, line separators or surrogates",
        )
    trimmed = value.strip()
    if not trimmed:
        raise PydanticCustomError("field_invalid", "must not be blank")
    if len(trimmed) > LENGTH_MAX:
        raise PydanticCustomError("field_invalid", "must have at most {max} characters", {"max": LENGTH_MAX})
    return trimmed


def optional_text(value: Any) -> str | None:
    """As text(), but null means omitted."""
    return None if value is None else text(value)


# What text() accepts, for readers of JSON Schema: one character at least that is no blank, none that is forbidden.
# Surrogates are left out, for they can't occur in UTF-8 and many engines refuse a pattern that names them.
_ALLOWED = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*"
_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "maxLength": LENGTH_MAX,
    "pattern": rf"^{_ALLOWED}[^\s\u0000-\u001f\u007f-\u009f]{_ALLOWED}$",
}

OPTIONAL_TEXT_SCHEMA: Final = {"anyOf": [_SCHEMA, {"type": "null"}]}

Text = Annotated[str, PlainValidator(text), WithJsonSchema(_SCHEMA)]
OptionalText = Annotated[
    str | None,
    PlainValidator(optional_text),
    WithJsonSchema(OPTIONAL_TEXT_SCHEMA),
]
