"""Scenarios of the network between Tally and its servers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlsplit, urlunsplit

from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import LocalPostgres
from tests.chaos.cluster import kafka_behind_a_proxy
from tests.chaos.parts import READY_SECONDS, Part, now_ms
from tests.chaos.proxy import (
    ADD_PARTITIONS_TO_TXN,
    COMMIT,
    END_TXN,
    FETCH,
    INIT_PRODUCER_ID,
    LIST_OFFSETS,
    METADATA,
    PRODUCE,
    Harm,
    Hole,
    KafkaFrames,
    PostgresFrames,
    Proxy,
)
from tests.chaos.reading import Log
from tests.chaos.stack import CLOSER, GATEWAY, NOTHING, PROJECTOR, ChaosStack, chaos_stack
from tests.chaos.stage import IMPATIENT, SESSION_SECONDS, Report, Stage, judged, rounds, staged

GOING_ON_SECONDS = 40
"""Ten for the request, ten for a session and a restore, and twice that on a machine that is busy."""
BATCH_MS_MAX = 1_000
HARM_SECONDS = 15.0
"""How long a harm that was ordered may wait for its victim."""
CUTS = (Harm.LOSE_REQUEST, Harm.TEAR_REQUEST, Harm.LOSE_ANSWER, Harm.TEAR_ANSWER)
KAFKA_KINDS = (PRODUCE, FETCH, ADD_PARTITIONS_TO_TXN, END_TXN, None)


@dataclass(frozen=True)
class Network:
    """A stack on servers of its own, a proxy before each; `through` is the environment of a part that uses both."""

    stack: ChaosStack
    kafka: Proxy
    postgres: Proxy
    through: Mapping[str, str]


@asynccontextmanager
async def network(directory: Path, seed: int, *, workers: int = 2, all_through: bool = True) -> AsyncIterator[Network]:
    """All parts reach their servers through the proxies, or none does until it is given the environment for it."""
    async with AsyncExitStack() as undo:
        kafka_port = free_port()
        kafka, behind = kafka_behind_a_proxy(directory, kafka_port)
        undo.push_async_callback(kafka.stop)
        broker = Part(await kafka.prepare(), "kafka", lambda _: None)
        undo.push_async_callback(broker.stop, SIGKILL)
        await broker.start(broker.command, wait=True)
        postgres = LocalPostgres(directory)
        undo.push_async_callback(postgres.stop)
        await postgres.start()
        url = urlsplit(postgres.dsn)
        assert url.port is not None
        kafka_proxy = await undo.enter_async_context(Proxy(behind, KafkaFrames, seed, kafka_port))
        postgres_proxy = await undo.enter_async_context(Proxy(url.port, PostgresFrames, seed))
        proxied = url._replace(netloc=f"{url.username}:{url.password}@{LOOPBACK}:{postgres_proxy.port}")
        through = {"TALLY_KAFKA": f"{LOOPBACK}:{kafka_port}", "TALLY_DATABASE_URL": urlunsplit(proxied)}
        stack = await undo.enter_async_context(
            chaos_stack(
                directory / "stack",
                workers=workers,
                kafka=kafka.bootstrap,
                database_url=postgres.dsn,
                environment={**IMPATIENT, **(through if all_through else NOTHING)},
            )
        )
        yield Network(stack, kafka_proxy, postgres_proxy, through)


async def connections_cut(directory: Path, seed: int, seconds: float) -> Report:
    """Connections to Kafka torn in the middle of a frame, or cut where a request or its answer is lost; now and then
    all of them at once; and answers that come late."""
    async with network(directory, seed) as net:
        async with staged("connections-cut", net.stack, seed, kafka=net.through["TALLY_KAFKA"]) as stage:
            for _ in rounds(seconds):
                await cut(stage, net)
        return await judged(stage, "torn", "lost", "all cut", "delayed")


async def commits_unanswered(directory: Path, seed: int, seconds: float) -> Report:
    """EndTxn has reached the broker, which has committed, and the worker never learns: cut, or in silence until it
    gives up."""
    async with network(directory, seed) as net:
        async with staged("commits-unanswered", net.stack, seed) as stage:
            for _ in rounds(seconds):
                await lose_end_txn(stage, net)
                await asyncio.sleep(stage.chance.uniform(0, 2))
        return await judged(stage, "EndTxn unanswered", "EndTxn in silence", "InitProducerId unanswered", "exit 17")


async def postgres_commits_unanswered(directory: Path, seed: int, seconds: float) -> Report:
    """COMMIT has reached Postgres, which has committed, and closer, projector or gateway never learns."""
    async with network(directory, seed) as net:
        async with staged("postgres-commits-unanswered", net.stack, seed) as stage:
            for _ in rounds(seconds):
                await lose_commit(stage, net)
        return await judged(stage, "COMMIT unanswered", "COMMIT lost")


async def black_holes(directory: Path, seed: int, seconds: float) -> Report:
    """The network swallows everything of one worker for longer than every timeout; its partitions go to another, and
    it comes back as a zombie."""
    async with network(directory, seed, workers=1, all_through=False) as net:
        await net.stack.add_worker(environment=net.through)
        async with staged("black-holes", net.stack, seed) as stage:
            for _ in rounds(seconds):
                await fall_into_a_hole(stage, net)
        return await judged(stage, "taken over")


async def silent_connections(directory: Path, seed: int, seconds: float) -> Report:
    """One connection to Kafka says nothing more after a request of some kind, and is never closed. The worker must find
    out by itself, soon, whatever it was waiting for."""
    async with network(directory, seed, workers=1) as net:
        log = Log()
        async with staged("silent-connections", net.stack, seed) as stage:
            for _ in rounds(seconds):
                kind = stage.chance.choice([PRODUCE, FETCH, LIST_OFFSETS, METADATA, ADD_PARTITIONS_TO_TXN, END_TXN])
                stage.did["silent"] += await _done(net.kafka, Harm.SILENCE, kind)
                await _going_on(net.stack, log, kind)
        return await judged(stage, "silent", log=log)


async def _going_on(stack: ChaosStack, log: Log, kind: str) -> None:
    """Return once every partition has committed something that was begun after now."""
    since = now_ms() + BATCH_MS_MAX
    try:
        async with asyncio.timeout(GOING_ON_SECONDS):
            while any(max(log.committed_at[number], default=0) < since for number in range(stack.partitions)):
                await asyncio.sleep(0.5)
                await log.read_on(stack.settings)
    except TimeoutError:
        raise AssertionError(
            f"nothing goes on {GOING_ON_SECONDS} s after silence at a request of kind {kind}"
        ) from None


async def silent_servers(directory: Path, seed: int, seconds: float) -> Report:
    """Every part loses sight of Kafka, of Postgres, or of both at once, for longer than its timeouts."""
    async with network(directory, seed) as net:
        async with staged("silent-servers", net.stack, seed, kafka=net.through["TALLY_KAFKA"]) as stage:
            for number in rounds(seconds):
                proxies = ((net.kafka,), (net.postgres,), (net.kafka, net.postgres))[number % 3]
                async with AsyncExitStack() as holes:
                    for proxy in proxies:
                        await holes.enter_async_context(proxy.black_hole(stage.chance.choice(list(Hole))))
                    await asyncio.sleep(SESSION_SECONDS + stage.chance.uniform(1, 6))
                stage.did[f"{len(proxies)} silent"] += 1
                await asyncio.sleep(stage.chance.uniform(1, 4))
        return await judged(stage, "1 silent")


async def network_troubles(directory: Path, seed: int, seconds: float) -> Report:
    """All of that in turn, with one worker that has a network of its own."""
    async with network(directory, seed, workers=1, all_through=False) as net:
        await net.stack.add_worker(environment=net.through)
        for part in (CLOSER, PROJECTOR, GATEWAY):
            await net.stack.stop(part)
            await net.stack.start(part, environment=net.through)
        async with staged("network-troubles", net.stack, seed, kafka=net.through["TALLY_KAFKA"]) as stage:
            for _ in rounds(seconds):
                for harm in stage.chance.sample(CUTS, len(CUTS)):
                    await cut_at(stage, net, harm, stage.chance.choice([PRODUCE, FETCH, None]))
                stage.did["all cut"] += net.kafka.cut_all() > 0
                await lose_commit(stage, net)
                await lose_end_txn(stage, net)
                await fall_into_a_hole(stage, net)
        return await judged(stage, "torn", "lost", "all cut", "EndTxn in silence", "exit 17", "taken over")


async def cut(stage: Stage, net: Network) -> None:
    """Cut connections to Kafka, or slow them down."""
    chance, proxy = stage.chance, net.kafka
    match chance.randrange(8):
        case 0:
            stage.did["all cut"] += proxy.cut_all() > 0
        case 1:
            proxy.delay_seconds = chance.uniform(0.02, 0.2)
            await asyncio.sleep(chance.uniform(0.5, 2))
            proxy.delay_seconds = 0.0
            stage.did["delayed"] += 1
        case _:
            await cut_at(stage, net, chance.choice(CUTS), chance.choice(KAFKA_KINDS))
    await asyncio.sleep(chance.uniform(0, 1))


async def cut_at(stage: Stage, net: Network, harm: Harm, kind: str | None) -> None:
    """Cut one connection to Kafka at a request of this kind, or at its answer."""
    done = await _done(net.kafka, harm, kind)
    stage.did["torn" if harm in {Harm.TEAR_ANSWER, Harm.TEAR_REQUEST} else "lost"] += done


async def lose_end_txn(stage: Stage, net: Network) -> None:
    """The answers to commits are lost: first so that the worker can ask again, then so that it hears nothing more,
    gives up, and does not hear either that it was fenced off from its former self."""
    times = stage.chance.randrange(1, 4)
    stage.did["EndTxn unanswered"] += await _done(net.kafka, Harm.LOSE_ANSWER, END_TXN, times)
    stage.did["EndTxn in silence"] += await _done(net.kafka, Harm.SILENCE, END_TXN)
    stage.did["InitProducerId unanswered"] += await _done(net.kafka, Harm.LOSE_ANSWER, INIT_PRODUCER_ID)


async def lose_commit(stage: Stage, net: Network) -> None:
    """COMMITs to Postgres are lost, or their answers."""
    harm = stage.chance.choice([Harm.LOSE_ANSWER, Harm.LOSE_ANSWER, Harm.LOSE_REQUEST])
    done = await _done(net.postgres, harm, COMMIT, stage.chance.randrange(1, 4))
    stage.did["COMMIT unanswered" if harm is Harm.LOSE_ANSWER else "COMMIT lost"] += done
    await asyncio.sleep(stage.chance.uniform(0, 1))


async def fall_into_a_hole(stage: Stage, net: Network) -> None:
    """The latest worker hears nothing for longer than its session, while the first one can go on."""
    stack, hole = stage.stack, stage.chance.choice(list(Hole))
    first, *_, latest = stack.workers
    async with asyncio.timeout(READY_SECONDS):
        while not await _is_shared(stack, first, latest):  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.1)
    async with net.kafka.black_hole(hole):
        async with asyncio.timeout(READY_SECONDS):
            while len(await stack.partitions_of(first)) < stack.partitions:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(stage.chance.uniform(0, 3))
    stage.did[f"taken over, no {hole}"] += 1
    stage.did["taken over"] += 1


async def _is_shared(stack: ChaosStack, one: str, other: str) -> bool:
    of_one, of_other = await stack.partitions_of(one), await stack.partitions_of(other)
    return bool(of_one and of_other and not of_one & of_other)


async def _done(proxy: Proxy, harm: Harm, kind: str | None, times: int = 1) -> int:
    """Do harm, and wait for it; returns how often it was done."""
    before = proxy.harmed.total()
    proxy.harm(harm, kind, times)
    try:
        async with asyncio.timeout(HARM_SECONDS):
            while proxy.harmed.total() < before + times:  # noqa: ASYNC110 - what is to be harmed comes from elsewhere
                await asyncio.sleep(0.01)
    except TimeoutError:
        proxy.relent()
    return proxy.harmed.total() - before
