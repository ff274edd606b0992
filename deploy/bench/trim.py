"""Deletes usage from the topic once it is decided, where there is so much that it would not fit on a disk beside what
is accepted of it: fifty million events take 17 GB as they are sent, and 42 GB as they are accepted.
"""

import asyncio
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import Topic

STORED_KEYS_MIN: Final = 20_000_000
"""Of a workload whose stored keys are trimmed."""
BROKER_SETTINGS: Final = {"log.retention.check.interval.ms": "20000"}
"""How often a broker looks for files that it may delete; else it is every five minutes."""
_SECONDS: Final = 10.0


class Trim:
    """What is decided, and deleted every few seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decided: dict[TopicPartition, RecordsToDelete] = {}

    def note(self, partition: int, position: Position) -> None:
        """A partition has come as far as this."""
        place = TopicPartition(self._settings.topic(Topic.USAGE_EVENTS), partition)
        self._decided[place] = RecordsToDelete(position.positions[Topic.USAGE_EVENTS])

    async def run(self) -> None:
        """Delete for ever."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka)
        try:
            await admin.start()
            while True:
                await asyncio.sleep(_SECONDS)
                decided, self._decided = self._decided, {}
                if decided:
                    await admin.delete_records(decided)
        finally:
            await admin.close()
