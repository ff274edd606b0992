"""The API keys in memory, so that no request waits for Postgres to know its caller."""

import asyncio
import logging
from typing import Final

from ingest.database import Database, DatabaseAway
from ingest.keys import ApiKey, bearer_hash, find_key, live_keys
from schemas.rejection import Reason, Rejection

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.25
"""An unknown key may be new, so the ring looks again before it refuses one; but not more often than this."""


class Keyring:
    """The live keys, not older than `seconds`. While Postgres is away the last known ones stay: nobody can revoke a
    key then either."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._keys: dict[bytes, ApiKey] | None = None
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def holder(self, authorization: bytes) -> ApiKey | Rejection:
        """The key of an Authorization header, or why the caller is refused."""
        key_hash = bearer_hash(authorization)
        if key_hash is None:
            return Rejection.of(Reason.UNAUTHORIZED)
        if self._keys is not None and (key := find_key(self._keys, key_hash)) is not None:
            return key
        try:
            await self._look_again()
        except DatabaseAway:
            return Rejection.of(Reason.UNAVAILABLE)
        assert self._keys is not None, "loaded just now"
        return find_key(self._keys, key_hash) or Rejection.of(Reason.UNAUTHORIZED)

    async def load(self) -> None:
        """Read the keys. Raises DatabaseAway, and OperatorError where the database has no tables."""
        started = asyncio.get_running_loop().time()
        async with self._database.connection() as connection:
            self._keys = await live_keys(connection)
        self._looked_at = started

    async def run(self) -> None:
        """Keep the keys fresh for ever."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.load()
            except DatabaseAway as error:
                logger.warning("the API keys may be out of date: %s", error)

    async def _look_again(self) -> None:
        """Return once the ring holds every key that was made before this call; all callers share the same looks."""
        called = asyncio.get_running_loop().time()
        while self._looked_at < called:
            # A look that is over tells nothing of a key that is newer, and waiting for it would not wait at all.
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
                self._looking.add_done_callback(_each_caller_raises)
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        await asyncio.sleep(self._looked_at + _PAUSE_SECONDS - asyncio.get_running_loop().time())
        await self.load()


def _each_caller_raises(task: asyncio.Task[None]) -> None:
    """Its exception is seen, also where all who called it have gone."""
    if not task.cancelled():
        task.exception()
