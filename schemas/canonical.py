"""Canonical JSON (RFC 8785) and the digest of a record. Values here hold text and integers only, never a float."""

import hashlib
import json
from collections.abc import Collection
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The value as RFC 8785 writes it."""
    return _json(_sorted(value))


def digest(document: dict[str, Any]) -> str:
    """SHA-256 in hex of the canonical JSON of a record without its own `digest`."""
    return hashlib.sha256(canonical_json({k: v for k, v in document.items() if k != "digest"})).hexdigest()


def sealed(document: dict[str, Any]) -> tuple[str, bytes]:
    """The digest of a record without one, and the canonical JSON of the record with it: sorted once, for most of the
    work is in that."""
    ordered = _sorted(document)
    text = hashlib.sha256(_json(ordered)).hexdigest()
    whole = {**ordered, "digest": text}
    return text, _json({key: whole[key] for key in _in_order(whole)})


def _json(ordered: Any) -> bytes:
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _in_order(keys: Collection[str]) -> list[str]:
    """RFC 8785 section 3.2.3: by UTF-16 code units, which for ASCII is the order of Python."""
    return sorted(keys) if "".join(keys).isascii() else sorted(keys, key=lambda key: key.encode("utf-16-be"))


def _sorted(value: Any) -> Any:
    if type(value) is str:  # most of them
        return value
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in _in_order(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    assert not isinstance(value, float), "a float has no place in a record"
    return value
