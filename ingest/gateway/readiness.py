"""Whether the gateway is ready: looked at whenever somebody asks, and every few seconds beside that, so that its metric
and its log tell of it where nobody asks."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ingest.catalog.outbox import Outbox
from ingest.database import Database, DatabaseAway
from ingest.metrics import READY
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0


class Readiness:
    """Kafka and Postgres answer, and Postgres has all that the catalog's topic holds."""

    def __init__(self, database: Database, producer: UsageProducer, outbox: Outbox) -> None:
        self._database = database
        self._producer = producer
        self._outbox = outbox
        self._is_ready = True

    async def unready(self) -> Sequence[str]:
        """What is wrong, a sentence each; nothing: the gateway is ready. Raises OperatorError."""
        answers = await asyncio.gather(self._kafka_away(), self._postgres_away())
        sentences = [sentence for sentence in answers if sentence is not None]
        if not sentences and not self._outbox.is_compared:
            sentences = ["Postgres has not been compared with the catalog's topic yet."]
        self._show(sentences)
        return sentences

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look for ever. Raises OperatorError."""
        while True:
            await self.unready()
            await asyncio.sleep(look_seconds)

    def _show(self, sentences: Sequence[str]) -> None:
        before, self._is_ready = self._is_ready, not sentences
        READY.set(self._is_ready)
        if self._is_ready is not before:
            logger.info("ready again") if self._is_ready else logger.warning("not ready: %s", " ".join(sentences))

    async def _kafka_away(self) -> str | None:
        try:
            await self._producer.ping()
        except Unavailable:
            return "Kafka does not answer."
        return None

    async def _postgres_away(self) -> str | None:
        try:
            async with self._database.connection() as connection:
                await connection.execute("SELECT 1")
        except DatabaseAway:
            return "Postgres does not answer."
        return None
