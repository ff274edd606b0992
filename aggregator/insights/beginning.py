"""Where the live rates begin to read: a quarter of an hour back, so that a process that was just started shows what
one shows that has run for long. The topic itself is what the rates are restored from."""

import logging
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from aggregator.rules.rates import KEPT_MS, SETTLE_MS, STEP_MS
from aggregator.stream.consumer import stop_consumer
from aggregator.stream.reader import REQUEST_TIMEOUT_MS, partitions_of

log = logging.getLogger(__name__)

CLIENT = "tally-insights"
FREE = ("Empty", "Dead")
"""States of a consumer group without members; Dead is one that does not exist."""


async def begin(bootstrap: str, group_id: str, topic: str, at: int) -> int:
    """Set the offsets of the group to what was appended since a quarter of an hour before `at` (ms). Returns how
    many partitions there are; 0, and has done nothing, while another process is in the group: that one shows the rates
    of all partitions."""
    if await _state(bootstrap, group_id) not in FREE:
        return 0
    partitions = await partitions_of(bootstrap, CLIENT, [topic])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=CLIENT,
        group_id=group_id,
        enable_auto_commit=False,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        since = at - KEPT_MS - SETTLE_MS - STEP_MS
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await consumer.end_offsets(partitions)
        await consumer.commit({tp: ends[tp] if found[tp] is None else found[tp].offset for tp in partitions})
    finally:
        await stop_consumer(consumer)
    return len(partitions)


async def _state(bootstrap: str, group_id: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id=CLIENT, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        (described,) = await admin.describe_consumer_groups([group_id])
        group: Any = described.groups[0]
    finally:
        await admin.close()
    _, _, state, *_ = group
    return str(state)
