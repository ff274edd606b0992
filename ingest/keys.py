"""API keys: who may call, for what, and on which services.

A key is 256 random bits, shown once; the database keeps its SHA-256. A slow hash would protect a guessable secret,
which this is not.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ingest.queries import named_queries
from schemas.errors import OperatorError
from schemas.text import text

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

_SQL: Final = named_queries("ingest", "keys.sql")
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(tally_[A-Za-z0-9_-]{43})").fullmatch


class Scope(StrEnum):
    """What a key permits."""

    USAGE_WRITE = "usage:write"
    READ = "read"
    CATALOG_WRITE = "catalog:write"
    BILLING_WRITE = "billing:write"


@dataclass(slots=True, frozen=True)
class ApiKey:
    """A key in use; `services` None means all of them, `requests_per_second` None as many as the gateway allows."""

    id: str
    hash: bytes
    scopes: frozenset[str]
    services: frozenset[str] | None
    requests_per_second: int | None = None

    def permits(self, scope: Scope) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes

    def sees(self, service_id: str) -> bool:
        """Whether the key may know of a service and of what belongs to it."""
        return self.services is None or service_id in self.services


@dataclass(slots=True, frozen=True)
class ApiKeyEntry:
    """A key as people see it in a list; the key itself is not kept."""

    id: str
    name: str
    scopes: tuple[str, ...]
    services: tuple[str, ...] | None
    requests_per_second: int | None
    created_at: datetime
    revoked_at: datetime | None


def bearer_hash(authorization: bytes) -> bytes | None:
    """The hash of the key in an Authorization header; None where there is none."""
    match = _BEARER(authorization)
    return None if match is None else hashlib.sha256(match[1]).digest()


def find_key(keys: dict[bytes, ApiKey], key_hash: bytes) -> ApiKey | None:
    """The key of this hash."""
    key = keys.get(key_hash)
    return key if key is not None and hmac.compare_digest(key.hash, key_hash) else None


async def create_key(
    connection: "Connection",
    name: str,
    scopes: Iterable[str],
    services: Iterable[str] | None = None,
    requests_per_second: int | None = None,
) -> tuple[str, str]:
    """Store a new key; returns its id and the key itself, which can't be had again. Raises OperatorError."""
    chosen = set(scopes)
    if not chosen or not chosen <= set(Scope):
        raise OperatorError(f"A key needs one or more of the scopes {', '.join(Scope)}.")
    try:
        name = text(name)
        services = None if services is None else sorted({text(service) for service in services})
    except ValueError as error:
        raise OperatorError(f"The key's name and each of its services {error}.") from error
    key_id, key = f"key_{secrets.token_hex(8)}", f"tally_{secrets.token_urlsafe(32)}"
    await connection.execute(
        _SQL["add_key"],
        key_id,
        hashlib.sha256(key.encode()).digest(),
        sorted(chosen),
        services,
        name,
        requests_per_second,
    )
    return key_id, key


async def list_keys(connection: "Connection") -> list[ApiKeyEntry]:
    """All keys, also the revoked ones, oldest first."""
    return [
        ApiKeyEntry(
            row["id"],
            row["name"],
            tuple(row["scopes"]),
            None if row["services"] is None else tuple(row["services"]),
            row["requests_per_second"],
            row["created_at"],
            row["revoked_at"],
        )
        for row in await connection.fetch(_SQL["list_keys"])
    ]


async def revoke_key(connection: "Connection", key_id: str) -> None:
    """Revoke a key for good; gateways refuse it within seconds. Raises OperatorError where there is none."""
    if await connection.fetchval(_SQL["revoke_key"], key_id) is None:
        raise OperatorError(f"There is no key {key_id}; 'tally keys list' shows them all.")


async def live_keys(connection: "Connection") -> dict[bytes, ApiKey]:
    """The keys that are not revoked, by their hash."""
    return {row["hash"]: _api_key(row) for row in await connection.fetch(_SQL["live_keys"])}


def _api_key(row: "asyncpg.Record") -> ApiKey:
    services = row["services"]
    return ApiKey(
        row["id"],
        row["hash"],
        frozenset(row["scopes"]),
        None if services is None else frozenset(services),
        row["requests_per_second"],
    )
