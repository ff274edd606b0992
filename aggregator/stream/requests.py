"""Kafka's requests, encoded in one piece.

aiokafka 0.14.0 encodes what is within a request first and puts each into what is around it: a batch of records is
copied six times before it is sent.
"""

from typing import Any

from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import Array, Bytes, Int32, Schema


def encode_in_one_piece() -> None:
    """Have all requests of this process encoded so."""
    Struct.encode = _encoded


def _encoded(self: Struct) -> bytes:
    parts: list[Any] = []
    _gather(self.SCHEMA, [self.__dict__[name] for name in self.SCHEMA.names], parts)
    return b"".join(parts)


def _gather(field: Any, value: Any, parts: list[Any]) -> None:
    kind = type(field)
    if kind is Schema:
        for inner, item in zip(field.fields, value, strict=True):
            _gather(inner, item, parts)
    elif kind is Array and value is not None:
        parts.append(Int32.encode(len(value)))
        for item in value:
            _gather(field.array_of, item, parts)
    elif field is Bytes and value is not None:
        parts += (Int32.encode(len(value)), value)
    else:
        parts.append(field.encode(value))
