"""Canonical JSON (RFC 8785) and the digest of a record. Values here hold text and integers only, never a float."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The value as RFC 8785 writes it."""
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def digest(document: dict[str, Any]) -> str:
    """SHA-256 in hex of the canonical JSON of a record without its own `digest`."""
    return hashlib.sha256(canonical_json({k: v for k, v in document.items() if k != "digest"})).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):  # RFC 8785 section 3.2.3: by UTF-16 code units
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    assert not isinstance(value, float), "a float has no place in a record"
    return value
