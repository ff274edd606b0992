"""The topic `catalog`: the copies that workers read."""

import asyncio

from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from ingest.broker import Broker, BrokerAway
from schemas.errors import OperatorError

_LOG_APPEND_TIME = 1


class NotTaken(BrokerAway):
    """The broker did not take an entry."""


class CatalogTopic:
    """Publishes catalog entries, acknowledged by all in-sync replicas."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(self, key: bytes, value: bytes) -> "asyncio.Future[int]":
        """Send an entry. The future is its append time in ms; a future that fails says NotTaken or OperatorError.

        The client sends it until it is acknowledged, however long that takes: whoever waits no longer must keep the
        future, for the entry would be sent twice.
        """
        return asyncio.ensure_future(self._publish(key, value))

    async def _publish(self, key: bytes, value: bytes) -> int:
        try:
            producer = await self._broker.producer()
        except BrokerAway as error:
            raise NotTaken(str(error)) from error
        try:
            return self._append_time(await producer.send_and_wait(self._broker.topic, value, key, partition=0))
        except KafkaError as error:
            self._broker.discard(producer)
            raise NotTaken(f"Kafka did not take the entry {key.decode()}: {error!r}") from error

    def _append_time(self, metadata: RecordMetadata) -> int:
        if metadata.timestamp_type != _LOG_APPEND_TIME:
            raise OperatorError(
                f"The topic {self._broker.topic} has no append times, by which statuses are dated; set its"
                " message.timestamp.type to LogAppendTime ('tally topics' creates it so)."
            )
        return int(metadata.timestamp)
