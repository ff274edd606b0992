"""Requests that carry an Idempotency-Key, in Postgres: who executes one, and what it was answered."""

import asyncio
import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from ingest.database import Database, DatabaseAway
from ingest.gateway.answer import Headers
from ingest.queries import named_queries
from schemas.rejection import Reason, Rejection

if TYPE_CHECKING:
    import asyncpg

logger = logging.getLogger(__name__)

KEPT: Final = timedelta(hours=24)
TAKEN_OVER_AFTER: Final = timedelta(seconds=60)
"""An answer takes less, unless its gateway is gone."""

_SWEEP_SECONDS: Final = 60
_SWEEP_ROWS: Final = 1_000

_SQL: Final = named_queries("ingest.gateway", "idempotency.sql")


class RequestKey(NamedTuple):
    """An Idempotency-Key and the API key that it came with."""

    api_key_id: str
    idempotency_key: str


class Claim(NamedTuple):
    """The right to execute a request, which ends when another takes it over."""

    key: RequestKey
    seed: UUID
    at: datetime


class Recorded(NamedTuple):
    """An answer with all its headers but the id of the request."""

    status: int
    headers: Headers
    body: bytes


class IdempotentRequests:
    """Gives each request to one executor at a time, and keeps its answer for 24 hours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, key: RequestKey, body_hash: bytes) -> Claim | Recorded | Rejection:
        """The right to execute a request; or what it was answered; or why neither is to be had. Raises DatabaseAway."""
        async with self._database.connection() as connection:
            while True:
                claimed = await connection.fetchrow(_SQL["claim"], *key, body_hash, KEPT, TAKEN_OVER_AFTER)
                if claimed is not None:
                    return Claim(key, claimed["seed"], claimed["claimed_at"])
                # Between the two statements it may have been swept away; then it can be claimed.
                if (known := await connection.fetchrow(_SQL["known"], *key)) is not None:
                    return _known(known, body_hash)

    async def store(self, claim: Claim, answer: Recorded) -> None:
        """Keep the answer, unless another has taken the request over. Raises DatabaseAway."""
        headers = json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers])
        async with self._database.connection() as connection:
            await connection.execute(_SQL["store"], *claim.key, claim.at, answer.status, headers, answer.body)

    async def release(self, claim: Claim) -> None:
        """Let the next who sends the same request execute it, at once. Raises DatabaseAway."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["release"], *claim.key, claim.at)

    async def sweep(self) -> None:
        """Delete what is older than 24 hours, a bounded number at a time. Raises DatabaseAway."""
        swept = _SWEEP_ROWS
        while swept == _SWEEP_ROWS:
            async with self._database.connection() as connection:
                swept = await connection.fetchval(_SQL["sweep"], KEPT, _SWEEP_ROWS)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.sweep()
            except DatabaseAway as error:
                logger.warning("old requests with an Idempotency-Key are not deleted: %s", error)


def _known(row: "asyncpg.Record", body_hash: bytes) -> Recorded | Rejection:
    if row["body_hash"] != body_hash:
        return Rejection.of(Reason.IDEMPOTENCY_KEY_REUSED)
    if row["status"] is None:
        return Rejection.of(Reason.IDEMPOTENCY_IN_PROGRESS)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(row["headers"])]
    return Recorded(row["status"], headers, row["body"])
