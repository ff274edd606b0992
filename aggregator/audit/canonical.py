"""JSON of Tally's own records: read strictly, and written as RFC 8785 has it, for digests."""

import hashlib
import json
from typing import Any, NoReturn

_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)} | {
    ord(character): "\\" + letter for character, letter in zip('"\\\b\t\n\f\r', '"\\btnfr', strict=True)
}


def own_document(value: bytes | None) -> Any:
    """A JSON value that Tally has written. Raises ValueError; a number with a point or an exponent is one, too."""
    if value is None:
        raise ValueError("the record has no value")
    return json.loads(value.decode(), parse_float=_refuse, parse_constant=_refuse)


def canonical(value: Any) -> str:
    """The value as RFC 8785 writes it; of text, integers, booleans, null, arrays and objects."""
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    raise ValueError(f"{value!r} has no place in a record")


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical form of a record without its own digest, in hex."""
    content = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def compact(value: list[str]) -> bytes:
    """An array of texts as the keys of Tally's records have it."""
    return ("[" + ",".join(map(canonical, value)) + "]").encode()


def _refuse(digits: str) -> NoReturn:
    raise ValueError(f"a record holds decimals as text, and this one the number {digits}")
