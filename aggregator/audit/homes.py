"""Which partition a subscription is at home in: Java's murmur2 of its UTF-8 bytes, written out anew."""

from functools import lru_cache
from typing import Final

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


@lru_cache(maxsize=200_000)
def home_of(subscription_id: str, partitions: int) -> int:
    """The home of a subscription among so many partitions."""
    return (murmur2(subscription_id.encode()) & _POSITIVE) % partitions


def murmur2(data: bytes) -> int:
    """The hash as an unsigned 32-bit integer."""
    digest = _SEED ^ len(data)
    whole = len(data) - len(data) % 4
    for place in range(0, whole, 4):
        word = int.from_bytes(data[place : place + 4], "little") * _M & _WORD
        word = (word ^ word >> 24) * _M & _WORD
        digest = (digest * _M & _WORD) ^ word
    if whole < len(data):
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _M & _WORD
    digest = (digest ^ digest >> 13) * _M & _WORD
    return digest ^ digest >> 15
