"""A request that is encoded in one piece is the same bytes."""

from collections.abc import Iterator

import pytest
from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.protocol.metadata import MetadataRequest_v1
from aiokafka.protocol.produce import ProduceRequest_v3
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest_v0, EndTxnRequest_v0

from aggregator.stream.requests import encode_in_one_piece

REQUESTS: list[Struct] = [
    ProduceRequest_v3("tally-0", -1, 30_000, [("accepted-usage", [(0, bytearray(b"batch")), (7, b"")]), ("é", [])]),
    ProduceRequest_v3(None, 0, 0, []),
    FetchRequest_v4(-1, 100, 1, 50_000_000, 1, [("usage-events", [(0, 2**40, 1_048_576)])]),
    MetadataRequest_v1(["a", "b"]),
    MetadataRequest_v1(None),
    AddPartitionsToTxnRequest_v0("tally-0", 4_000, 7, [("usage-totals", [0, 1])]),
    EndTxnRequest_v0("tally-0", 4_000, 7, True),
]


@pytest.fixture
def usual() -> Iterator[list[bytes]]:
    """What aiokafka makes of them by itself; afterwards it does so again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Struct, "encode", Struct.encode)
        yield [request.encode() for request in REQUESTS]


def test_as_aiokafka_encodes(usual: list[bytes]) -> None:
    before = Struct.encode
    encode_in_one_piece()
    assert Struct.encode is not before
    assert [request.encode() for request in REQUESTS] == usual


def test_what_does_not_fit_its_schema_is_an_error(usual: list[bytes]) -> None:
    encode_in_one_piece()
    with pytest.raises(ValueError, match="zip"):
        ProduceRequest_v3(None, 0, 0, [("topic",)]).encode()
