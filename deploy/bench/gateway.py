"""`tally bench gateway`: durable answers (202) per second of one gateway process, on a real broker.

The load comes from this process over keep-alive connections, each with one request open, so on two cores the gateway
has one, and the broker takes its share of both. The same load goes in turn to a gateway that acknowledges at once and
publishes nothing (unpublished.py): what publishing costs is the ratio of the two. Every acknowledged event is looked
for in the topic afterwards.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.bench.connections import Caller, Connection, HttpAnswer
from deploy.bench.measure import Circumstances, cpu_seconds, medians, resident_mib, resident_peak_mib
from deploy.bench.unpublished import unpublished
from deploy.local.stack import Stack, StackOptions
from deploy.log import reader
from deploy.progress import Progress
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import Topic

PATH = "/api/v1/usage-events"
BATCH_CONNECTIONS = 8
SUBSCRIPTIONS = 1_000
PARTITIONS = 8
WARM_UP_SHARE = 0.2
"""So long is the load sent before it is measured."""
KEY = b"tokens#"
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
"""The least CPU that the kernel tells: a load that took less counts as this much."""


@dataclass(frozen=True)
class GatewayLoads:
    """What is sent: single POSTs over each of these numbers of connections, and batches of each of these sizes."""

    connections: tuple[int, ...]
    batches: tuple[int, ...]
    seconds: float
    runs: int

    def loads(self) -> dict[str, tuple[int, int]]:
        """Connections and events of a request, by the name of the load."""
        return {f"single_{count}": (count, 1) for count in self.connections} | {
            f"batch_{size}": (BATCH_CONNECTIONS, size) for size in self.batches
        }


@dataclass(frozen=True)
class Load:
    """What one load came to. CPU is the gateway's; of it, the broker and the process that sends it is said how many
    cores they took."""

    requests_per_s: int
    events_per_s: int
    cpu_us_per_request: float
    cpu_us_per_event: float
    gateway_cores: float
    broker_cores: float
    load_cores: float


@dataclass(frozen=True)
class Comparison:
    """The same load on a gateway that publishes nothing, and how many times as much CPU the other took for it."""

    unpublished_requests_per_s: int
    unpublished_cpu_us_per_request: float
    ratio_to_unpublished: float

    @classmethod
    def of(cls, own: Load, other: Load) -> "Comparison":
        """Of two loads that ran one after the other."""
        ratio = round(own.cpu_us_per_event / other.cpu_us_per_event, 2)
        return cls(other.requests_per_s, other.cpu_us_per_request, ratio)


async def bench(loads: GatewayLoads) -> dict[str, Any]:
    """Medians over the runs; `audited` says whether the topic holds just what was acknowledged, each event once."""
    circumstances = asdict(Circumstances.here())
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        options = StackOptions(data=Path(directory), partitions=PARTITIONS, only_gateway=True, to_measure=True)
        async with Stack(options, lambda _: None) as stack, unpublished(stack, Path(directory)) as (http, pid):
            own = stack.pid("gateway")
            broker = stack.pid("kafka")
            assert own is not None, "it is ready"
            assert broker is not None, "it is ready"
            publishing = _Gateway(Caller(stack.http, stack.api_key), own, broker)
            other = _Gateway(Caller(http, stack.api_key), pid, broker)
            runs = await _in_turn(loads, publishing, other)
            summary = {
                "events": publishing.sent,
                "resident_mib": resident_mib(own),
                "resident_peak_mib": resident_peak_mib(own),
                "audited": await _is_logged_once(stack.kafka, publishing.sent),
            }
    return {
        "gateway": summary,
        **{name: _figures(pairs) for name, pairs in runs.items()},
        "runs": {name: [own.cpu_us_per_event for own, _ in pairs] for name, pairs in runs.items()},
        "workload": asdict(loads),
        "circumstances": circumstances,
    }


_Pair = tuple[Load, Load]
"""The same load on the gateway, and on the one that publishes nothing."""


async def _in_turn(loads: GatewayLoads, publishing: "_Gateway", other: "_Gateway") -> dict[str, list[_Pair]]:
    """Each load on the one and then on the other, and all of that again for each run."""
    pairs: dict[str, list[_Pair]] = {name: [] for name in loads.loads()}
    progress = Progress("loads", loads.runs * len(pairs))
    for _ in range(loads.runs):
        for name, (connections, batch) in loads.loads().items():
            first = await publishing.load(connections, batch, loads.seconds)
            pairs[name].append((first, await other.load(connections, batch, loads.seconds)))
            progress.add(1)
    progress.finish()
    return pairs


def _figures(pairs: Sequence[_Pair]) -> dict[str, Any]:
    return {**medians([own for own, _ in pairs]), **medians([Comparison.of(own, other) for own, other in pairs])}


class _Gateway:
    """A gateway under load; no event key is sent to it twice."""

    def __init__(self, caller: Caller, pid: int, broker_pid: int) -> None:
        self._caller = caller
        self._pids = (pid, broker_pid)
        self.sent = 0
        """Events that were sent, all of which are acknowledged between two loads."""

    async def load(self, connections: int, batch: int, seconds: float) -> Load:
        """Send as fast as answers come."""
        async with self._caller.connections(connections) as made:
            await self._send(made, batch, seconds * WARM_UP_SHARE)
            used, own, begun = self._used(), time.process_time(), time.monotonic()
            requests = await self._send(made, batch, seconds)
            elapsed, own = time.monotonic() - begun, time.process_time() - own
        gateway, broker = (max(TICK_SECONDS, now - before) for now, before in zip(self._used(), used, strict=True))
        return Load(
            requests_per_s=round(requests / elapsed),
            events_per_s=round(requests * batch / elapsed),
            cpu_us_per_request=round(gateway / requests * 1e6, 1),
            cpu_us_per_event=round(gateway / requests / batch * 1e6, 2),
            gateway_cores=round(gateway / elapsed, 2),
            broker_cores=round(broker / elapsed, 2),
            load_cores=round(own / elapsed, 2),
        )

    def _used(self) -> list[float]:
        return [cpu_seconds(pid) for pid in self._pids]

    async def _send(self, connections: Sequence[Connection], batch: int, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        work = (self._converse(connection, batch, deadline) for connection in connections)
        return sum(await asyncio.gather(*work))

    async def _converse(self, connection: Connection, batch: int, deadline: float) -> int:
        requests = 0
        while time.monotonic() < deadline or requests == 0:
            _check(await connection.ask(self._request(batch)), batch)
            requests += 1
        return requests

    def _request(self, batch: int) -> bytes:
        events = [_event(number) for number in range(self.sent, self.sent + batch)]
        self.sent += batch
        if batch == 1:
            return self._caller.post(PATH, events[0], "Prefer: respond-async")
        body = b'{"usageEvents":[%b]}' % b",".join(events)
        return self._caller.post(f"{PATH}/batch", body, "Prefer: respond-async")


def _check(answer: HttpAnswer, batch: int) -> None:
    expected = (202, 0) if batch == 1 else (207, batch)
    receipts = answer.body.count(b'"status":"PENDING"')
    if (answer.status, answer.body.count(b'"status":202')) != expected or receipts != batch:
        raise OperatorError(f"The gateway answered {answer.status} {answer.body[:200]!r}; look at its log.")


def _event(number: int) -> bytes:
    subscription = number % SUBSCRIPTIONS
    return (
        b'{"serviceId":"svc_bench","subscriptionId":"sub_%06d","userId":"user_%06d"'
        b',"eventKey":"%b%012d","quantity":"%d.25","occurredAt":"2026-03-05T06:07:08.123Z"}'
        % (subscription, subscription, KEY, number, number % 1_000)
    )


async def _is_logged_once(bootstrap: str, sent: int) -> bool:
    """Whether `usage-events` holds the events of these numbers, each once, and no other record."""
    found = bytearray(sent)
    progress = Progress("events looked for in the topic", sent)
    async with reader(Settings(kafka=bootstrap, partitions=PARTITIONS), Topic.USAGE_EVENTS) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        if sum(ends.values()) != sent:
            return False
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    number = record.value.partition(KEY)[2][:12]
                    found[int(number)] = 1
                progress.add(len(records))
    progress.finish()
    return all(found)
