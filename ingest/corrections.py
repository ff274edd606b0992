"""Corrections of usage on their way to `usage-corrections`, which nobody but the gateway writes."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ingest.broker import Broker, BrokerAway
from ingest.lane import Headers
from ingest.outcome import OutcomeUnknown, Unavailable
from schemas.correction import Void
from schemas.errors import OperatorError
from schemas.topics import partition_of

_AWAY = "Kafka is away and the event was not voided; send the same request again."
_UNKNOWN = "Kafka did not acknowledge the void in time, so its outcome is unknown; the same request may be sent again."


class Corrections:
    """Publishes voids, each acknowledged by all in-sync replicas within `seconds`."""

    def __init__(self, broker: Broker, seconds: float) -> None:
        self._broker = broker
        self._seconds = seconds
        self._sending: set[asyncio.Task[None]] = set()

    async def publish(self, void: Void, headers: Headers) -> None:
        """Publish a void and wait for the acknowledgement. Raises Unavailable where it was certainly not published,
        and OutcomeUnknown where it may be, now or later: a void that is repeated changes nothing."""
        try:
            producer = await self._broker.producer()
        except (BrokerAway, OperatorError) as error:
            raise Unavailable(_AWAY) from error
        sending = asyncio.create_task(self._send(producer, void, headers))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        done, _ = await asyncio.wait({sending}, timeout=self._seconds)
        if not done:
            raise OutcomeUnknown(_UNKNOWN)
        sending.result()

    async def _send(self, producer: AIOKafkaProducer, void: Void, headers: Headers) -> None:
        assert self._broker.partitions is not None, "a producer was given"
        partition = partition_of(void.subscription_id, self._broker.partitions)
        key = void.subscription_id.encode()
        try:
            await producer.send_and_wait(
                self._broker.topic, void.to_json(), key=key, partition=partition, headers=list(headers)
            )
        except KafkaError as error:
            self._broker.discard(producer)
            raise OutcomeUnknown(_UNKNOWN) from error
