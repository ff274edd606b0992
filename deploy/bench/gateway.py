"""`tally bench gateway`: durable answers (202) per second of one gateway process, on a real broker.

The load comes from this process over keep-alive connections, so on two cores the gateway has one, and the broker
takes its share of both. Every acknowledged event is looked for in the topic afterwards.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.bench.measure import Circumstances, cpu_seconds, resident_mib
from deploy.local.stack import Stack, StackOptions
from schemas.errors import OperatorError
from schemas.topics import Topic

BATCH_CONNECTIONS = 8
BATCH_SIZES = (100, 1_000)
SUBSCRIPTIONS = 1_000
PARTITIONS = 8
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Load:
    """What one load came to. `cpu_us_per_event` is the gateway's own."""

    requests_per_s: int
    events_per_s: int
    cpu_us_per_request: float
    cpu_us_per_event: float


async def bench(seconds: int, connections: int) -> dict[str, Any]:
    """Single POSTs, then batches; `audited` says whether the topic holds just what was acknowledged."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        options = StackOptions(data=Path(directory), partitions=PARTITIONS, only_gateway=True)
        async with Stack(options, lambda _: None) as stack:
            pid = stack.pid("gateway")
            assert pid is not None, "it is ready"
            run = _Run(stack.http, stack.api_key, pid)
            single = await run.load(connections, seconds, 1)
            batches = {f"batch_{size}": await run.load(BATCH_CONNECTIONS, seconds, size) for size in BATCH_SIZES}
            result = {
                "gateway": {
                    "connections": connections,
                    "resident_mib": resident_mib(pid),
                    "audited": await _logged(stack.kafka) == run.acknowledged,
                },
                "single": asdict(single),
                **{name: asdict(load) for name, load in batches.items()},
                "circumstances": asdict(Circumstances.here()),
            }
    return result


class _Run:
    """The loads of one run; no event key is sent twice."""

    def __init__(self, http: str, api_key: str, pid: int) -> None:
        place = urlsplit(http)
        assert place.hostname is not None
        assert place.port is not None
        self._host, self._port = place.hostname, place.port
        self._api_key = api_key
        self._pid = pid
        self._numbers = count()
        self.acknowledged = 0

    async def load(self, connections: int, seconds: int, batch: int) -> Load:
        """Send as fast as answers come, over so many connections."""
        await self._send(connections, WARM_UP_SECONDS, batch)
        cpu, begun = cpu_seconds(self._pid), time.monotonic()
        requests = await self._send(connections, seconds, batch)
        elapsed, used = time.monotonic() - begun, cpu_seconds(self._pid) - cpu
        return Load(
            requests_per_s=round(requests / elapsed),
            events_per_s=round(requests * batch / elapsed),
            cpu_us_per_request=round(used / requests * 1e6, 1),
            cpu_us_per_event=round(used / requests / batch * 1e6, 2),
        )

    async def _send(self, connections: int, seconds: float, batch: int) -> int:
        request = self._single if batch == 1 else lambda: self._batch(batch)
        status = b"202" if batch == 1 else b"207"
        deadline = time.monotonic() + seconds
        work = (self._converse(request, status, deadline) for _ in range(connections))
        requests = sum(await asyncio.gather(*work))
        self.acknowledged += requests * batch
        return requests

    async def _converse(self, request: Callable[[], bytes], status: bytes, deadline: float) -> int:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        requests = 0
        while time.monotonic() < deadline:
            writer.write(request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
            if head[9:12] != status or body.count(b'"PENDING"') != max(1, body.count(b'"status":202')):
                raise OperatorError(f"The gateway answered {head[:60]!r} {body[:200]!r}; look at its log.")
            requests += 1
        writer.close()
        await writer.wait_closed()
        return requests

    def _single(self) -> bytes:
        return self._request("/api/v1/usage-events", self._event())

    def _batch(self, size: int) -> bytes:
        events = b",".join(self._event() for _ in range(size))
        return self._request("/api/v1/usage-events/batch", b'{"usageEvents":[' + events + b"]}")

    def _event(self) -> bytes:
        number = next(self._numbers)
        subscription = number % SUBSCRIPTIONS
        return (
            b'{"serviceId":"svc_bench","subscriptionId":"sub_%06d","userId":"user_%06d"'
            b',"eventKey":"tokens#%012d","quantity":"%d.25","occurredAt":"2026-03-05T06:07:08.123Z"}'
            % (subscription, subscription, number, number % 1_000)
        )

    def _request(self, path: str, body: bytes) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._api_key}\r\n"
            f"Content-Type: application/json\r\nPrefer: respond-async\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


async def _logged(bootstrap: str) -> int:
    """How many records `usage-events` holds."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(Topic.USAGE_EVENTS.value, p) for p in range(PARTITIONS)])
    finally:
        await consumer.stop()
    return sum(ends.values())
