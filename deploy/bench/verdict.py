"""`tally bench verdict`: how long a POST of a usage event takes to be answered with its verdict, everything on one
machine.

At a rate, requests begin when they are due, however late the answers are to those before (an open loop), and latency
counts from when a request was due. With clients, each sends its next request once it has its answer. One in fifty is
sent a second time, with the same content, and must be answered with the event that it repeats. Every answer is looked
at, and at the end the ledger must say just what was sent.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.bench.connections import Caller, Connection, HttpAnswer
from deploy.bench.figures import percentile_ms
from deploy.bench.measure import Circumstances, cpu_seconds, medians, resident_mib
from deploy.local.stack import Stack, StackOptions
from deploy.log import ledger_of
from deploy.month import create_catalog, subscriptions
from deploy.progress import Progress
from deploy.sending import Api
from deploy.target import Target
from schemas.errors import OperatorError
from schemas.settings import Settings

PATH = "/api/v1/usage-events"
PARTITIONS = 8
WARM_UP_SHARE = 0.1
"""So long is the load sent before it is measured."""
REPEAT_EVERY = 50
DECIDED_SECONDS_MAX = 60
PROCESSES = ("gateway", "aggregator", "kafka")
"""Whose CPU is told."""

_SUBSCRIPTIONS = subscriptions()


@dataclass(frozen=True)
class VerdictLoads:
    """What is sent: so many requests a second, for each rate, and from so many clients at a time."""

    rates: tuple[int, ...]
    clients: tuple[int, ...]
    seconds: float
    runs: int


@dataclass(frozen=True)
class Waits:
    """What one load came to: latencies of what was recorded, and of duplicates (0 where there were none); CPU of all
    threads, and how many cores the process took that sends the load."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    duplicates: int
    duplicates_p50_ms: float
    duplicates_max_ms: float
    gateway_cpu_us_per_request: float
    aggregator_cpu_us_per_request: float
    kafka_cpu_us_per_request: float
    load_cores: float


async def bench(loads: VerdictLoads) -> dict[str, Any]:
    """Medians over the runs, of which each has all loads in turn; `audited` says whether every event was counted just
    once."""
    circumstances = asdict(Circumstances.here())
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        options = StackOptions(data=Path(directory), partitions=PARTITIONS, to_measure=True)
        async with Stack(options, lambda _: None) as stack:
            target = Target.of_ready_line(stack.ready_line())
            async with Api(target) as api:
                await create_catalog(api)
            usage = _Usage(Caller(target.http, target.api_key))
            pids = {name: _pid(stack, name) for name in PROCESSES}
            runs = await _in_turn(loads, usage, pids)
            summary = {
                "audited": await _is_counted_once(target.kafka, usage),
                "recorded": usage.answers["recorded"],
                "duplicates": usage.answers["duplicate"],
                "pending": usage.answers["pending"],
                **{f"{name}_resident_mib": resident_mib(pid) for name, pid in pids.items()},
            }
    return {
        "verdict": summary,
        **{name: medians(waits) for name, waits in runs.items()},
        "runs": {name: [run.p99_ms for run in waits] for name, waits in runs.items()},
        "workload": asdict(loads),
        "circumstances": circumstances,
    }


def _pid(stack: Stack, name: str) -> int:
    pid = stack.pid(name)
    assert pid is not None, "it is ready"
    return pid


async def _in_turn(loads: VerdictLoads, usage: "_Usage", pids: dict[str, int]) -> dict[str, list[Waits]]:
    runs: dict[str, list[Waits]] = {
        name: []
        for name in (*(f"rate_{rate}" for rate in loads.rates), *(f"clients_{count}" for count in loads.clients))
    }
    progress = Progress("loads", loads.runs * len(runs))
    warm_up = loads.seconds * WARM_UP_SHARE
    for _ in range(loads.runs):
        for rate in loads.rates:
            await usage.arrive(rate, warm_up)
            runs[f"rate_{rate}"].append(await _measured(usage.arrive(rate, loads.seconds), usage, pids))
            progress.add(1)
        for count in loads.clients:
            await usage.converse(count, warm_up)
            runs[f"clients_{count}"].append(await _measured(usage.converse(count, loads.seconds), usage, pids))
            progress.add(1)
    progress.finish()
    return runs


async def _measured(load: Awaitable[None], usage: "_Usage", pids: dict[str, int]) -> Waits:
    usage.took.clear()
    usage.repeats_took.clear()
    used, own, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.process_time(), time.monotonic()
    await load
    elapsed, own = time.monotonic() - begun, time.process_time() - own
    requests = len(usage.took) + len(usage.repeats_took)
    cpu_us = {name: round((cpu_seconds(pid) - used[name]) / requests * 1e6) for name, pid in pids.items()}
    return Waits(
        requests=requests,
        requests_per_s=round(requests / elapsed, 1),
        p50_ms=percentile_ms(usage.took, 0.5),
        p99_ms=percentile_ms(usage.took, 0.99),
        max_ms=percentile_ms(usage.took, 1),
        duplicates=len(usage.repeats_took),
        duplicates_p50_ms=percentile_ms(usage.repeats_took, 0.5),
        duplicates_max_ms=percentile_ms(usage.repeats_took, 1),
        gateway_cpu_us_per_request=cpu_us["gateway"],
        aggregator_cpu_us_per_request=cpu_us["aggregator"],
        kafka_cpu_us_per_request=cpu_us["kafka"],
        load_cores=round(own / elapsed, 2),
    )


@dataclass
class _Usage:
    """The requests, and what came back: how long each took in seconds since the last clear(), first ones and repeats,
    and how many of which answer there were in all."""

    caller: Caller
    took: list[float] = field(default_factory=list)
    repeats_took: list[float] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    _recorded: deque[tuple[int, str]] = field(default_factory=deque)
    """Number and id of what may be repeated, the oldest first."""

    async def arrive(self, rate: int, seconds: float) -> None:
        """Begin so many requests a second, each on a connection where nothing else is open."""
        free: list[Connection] = []

        async def one(due: float) -> None:
            connection = free.pop() if free else await self.caller.connect()
            await self._ask(connection, min(due, time.monotonic()))
            free.append(connection)

        begun = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number in range(round(rate * seconds)):
                due = begun + number / rate
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                requests.create_task(one(due))
        for connection in free:
            connection.close()

    async def converse(self, clients: int, seconds: float) -> None:
        """Have so many clients send one request after the other."""
        until = time.monotonic() + seconds

        async def client(connection: Connection) -> None:
            while (begun := time.monotonic()) < until:
                await self._ask(connection, begun)

        async with self.caller.connections(clients) as connections, asyncio.TaskGroup() as talks:
            for connection in connections:
                talks.create_task(client(connection))

    async def _ask(self, connection: Connection, since: float) -> None:
        """Send the next event, or repeat one, and take what it took since a moment of the monotonic clock."""
        number = self.sent["first"]
        is_repeat = self.sent.total() % REPEAT_EVERY == REPEAT_EVERY - 1 and bool(self._recorded)
        number, first_id = self._recorded.popleft() if is_repeat else (number, "")
        self.sent["repeat" if is_repeat else "first"] += 1
        event = _event(number)
        answer = await connection.ask(self.caller.post(PATH, json.dumps(event).encode()))
        took = time.monotonic() - since
        (self.repeats_took if is_repeat else self.took).append(took)
        kind, id_ = _read(answer, event, first_id)
        self.answers[kind] += 1
        if kind == "recorded":
            self._recorded.append((number, id_))


def _event(number: int) -> dict[str, Any]:
    subscription = _SUBSCRIPTIONS[number % len(_SUBSCRIPTIONS)]
    return {
        "serviceId": subscription["serviceId"],
        "subscriptionId": subscription["id"],
        "userId": subscription["userId"],
        "eventKey": f"token_generated#{number:012d}",
        "quantity": f"{number % 1_000}.250000",
    }


def _read(answer: HttpAnswer, event: dict[str, Any], first_id: str) -> tuple[str, str]:
    """What the answer says, and the event's id; `first_id` is that of the event which this one repeats. Raises
    OperatorError where this is no right answer."""
    document = json.loads(answer.body)
    if answer.status == 202:
        return "pending", document["receipt"]["id"]
    if first_id:
        said = (answer.status, document.get("code"), document.get("identical"), document.get("existing", {}).get("id"))
        if said == (409, "duplicate_event_key", True, first_id):
            return "duplicate", first_id
    elif answer.status == 201:
        recorded = document["usageEvent"]
        place = answer.header(b"location").decode()
        if (
            place == f"{PATH}/{recorded['id']}"
            and recorded["status"] == "RECORDED"
            and event.items() <= recorded.items()
        ):
            return "recorded", recorded["id"]
    raise OperatorError(f"To {event} the gateway answered {answer.status} {answer.body[:300]!r}; look at its log.")


async def _is_counted_once(bootstrap: str, usage: _Usage) -> bool:
    """Whether the ledger, once all is decided, holds each event as accepted once and each repeat as a duplicate."""
    settings = Settings(kafka=bootstrap, partitions=PARTITIONS)
    deadline = time.monotonic() + DECIDED_SECONDS_MAX
    while (ledger := await ledger_of(settings))["received"] < usage.sent.total():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    counts = {name: count for name, count in ledger.items() if count}
    expected = {"received": usage.sent.total(), "accepted": usage.sent["first"], "duplicate": usage.sent["repeat"]}
    return counts == {name: count for name, count in expected.items() if count}
