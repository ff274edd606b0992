"""Scenarios of Kafka's and Postgres's own troubles: full disks, lost leaders, lost majorities, an old backup."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

from deploy.local.directory import open_data_directory
from schemas.topics import Topic
from tests.chaos.backup import ClientsOfAKnownCatalog, Invoices, back_up, invoices, rebuild_catalog, restore
from tests.chaos.cluster import Cluster
from tests.chaos.disks import small_disk, why_no_small_disk
from tests.chaos.journal import Outcome
from tests.chaos.parts import READY_SECONDS, Part, now_ms
from tests.chaos.stack import GATEWAY, KAFKA, POSTGRES, ChaosStack, chaos_stack, until
from tests.chaos.stage import IMPATIENT, SESSION_SECONDS, NotPossible, Report, Stage, judged, rounds, staged

CATALOG_AHEAD = "37"
"""The exit code of a gateway whose topic knows more than Postgres."""
DISK_MIB = 320
FREEZE_SECONDS_MIN, FREEZE_SECONDS_MAX = 12.0, 20.0
"""Longer than a transaction, a request of a client, and the broker's own patience with a follower."""


async def kafka_disk_full(directory: Path, seed: int, seconds: float) -> Report:
    """No byte is left for the broker's log, for a while; again and again."""
    return await _disk_full("kafka-disk-full", KAFKA, directory, seed, seconds)


async def postgres_disk_full(directory: Path, seed: int, seconds: float) -> Report:
    """No byte is left for Postgres's data and its log, for a while; again and again."""
    return await _disk_full("postgres-disk-full", POSTGRES, directory, seed, seconds)


async def _disk_full(name: str, server: str, directory: Path, seed: int, seconds: float) -> Report:
    if (why := why_no_small_disk()) is not None:
        raise NotPossible(why)
    open_data_directory(directory)
    with small_disk(directory / server, DISK_MIB) as disk:
        async with chaos_stack(directory, environment=IMPATIENT) as stack:
            async with staged(name, stack, seed) as stage:
                for _ in rounds(seconds):
                    await asyncio.sleep(stage.chance.uniform(1, 4))
                    stage.did["filled"] += disk.fill() > 0
                    await asyncio.sleep(stage.chance.uniform(2, 8))
                    disk.free()
                    await stack.answering(server)
            for line in stack.log_file(server).read_text(errors="replace").splitlines():
                stage.did["complaints of no space"] += "No space left" in line
            return await judged(stage, "filled", "complaints of no space")


@asynccontextmanager
async def _three_brokers(directory: Path) -> AsyncIterator[tuple[ChaosStack, Cluster, dict[str, Part]]]:
    """A stack on a cluster, and the brokers by name."""
    cluster = Cluster(directory)
    parts = {command.name: Part(command, KAFKA, lambda _: None) for command in await cluster.prepare()}
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts.values():
                group.create_task(part.start(part.command, wait=True))
        await cluster.formed()
        async with chaos_stack(directory / "stack", kafka=cluster.bootstrap, environment=IMPATIENT) as stack:
            yield stack, cluster, parts
    finally:
        for part in parts.values():
            await part.stop(SIGKILL)
        await cluster.release()


async def leader_killed(directory: Path, seed: int, seconds: float) -> Report:
    """Of three brokers the one that leads a partition of `usage-events` is killed; it comes back and follows."""
    async with _three_brokers(directory) as (stack, cluster, parts):
        async with staged("leader-killed", stack, seed) as stage:
            for _ in rounds(seconds):
                await asyncio.sleep(stage.chance.uniform(0, 3))
                partition = stage.chance.randrange(stack.partitions)
                leader = await cluster.leader_of(Topic.USAGE_EVENTS, partition)
                stage.did["leaders killed"] += parts[leader].kill(SIGKILL) is not None
                await asyncio.sleep(stage.chance.uniform(0, 4))
                await parts[leader].answering()
                stage.did["moved"] += await cluster.leader_of(Topic.USAGE_EVENTS, partition) != leader
                await cluster.in_sync()
        return await judged(stage, "leaders killed", "moved")


async def two_of_three_frozen(directory: Path, seed: int, seconds: float) -> Report:
    """Two of three brokers stand still for longer than all timeouts, and go on as if nothing had been. What the third
    could acknowledge alone would be an empty promise, so it must not."""
    async with _three_brokers(directory) as (stack, cluster, parts):
        async with staged("two-of-three-frozen", stack, seed) as stage:
            for _ in rounds(seconds):
                await asyncio.sleep(stage.chance.uniform(1, 4))
                frozen = stage.chance.sample(sorted(parts), 2)
                for name in frozen:
                    stage.did["frozen"] += parts[name].freeze() is not None
                since = now_ms()
                await asyncio.sleep(stage.chance.uniform(FREEZE_SECONDS_MIN, FREEZE_SECONDS_MAX))
                stage.did["not acknowledged"] += _answered(stage, since, Outcome.UNKNOWN)
                for name in frozen:
                    parts[name].thaw()
                await cluster.in_sync()
        return await judged(stage, "frozen", "not acknowledged")


def _answered(stage: Stage, since: int, outcome: Outcome) -> int:
    return sum(sent.at > since and sent.outcome is outcome for sent in stage.journal.sent)


async def old_backup(directory: Path, seed: int, seconds: float) -> Report:
    """Postgres as it was a while ago. Closer and projector go on from there, and what they write again is the same."""
    async with chaos_stack(directory, environment=IMPATIENT) as stack:
        async with staged("old-backup", stack, seed, clients=ClientsOfAKnownCatalog) as stage:
            for _ in rounds(seconds):
                await _go_back(stage)
        return await judged(stage, "restored", "invoices to write again")


async def old_backup_of_the_catalog(directory: Path, seed: int, seconds: float) -> Report:
    """The same, with changes of the catalog since, which only the topic knows. A gateway that finds out halts, over
    and over, until Postgres was rebuilt from the topic."""
    async with chaos_stack(directory, environment=IMPATIENT) as stack:
        async with staged("old-backup-of-the-catalog", stack, seed) as stage:
            for number in rounds(seconds):
                await _go_back(stage)
                halts = number + 1
                assert await until(lambda halts=halts: stage.exits(GATEWAY)[CATALOG_AHEAD] >= halts, READY_SECONDS)  # type: ignore[misc]
                await rebuild_catalog(stack)
                await stack.answering(GATEWAY)
        return await judged(stage, "restored", "invoices to write again", f"exit {CATALOG_AHEAD}")


async def _go_back(stage: Stage) -> None:
    """Copy Postgres, let it go on, and put the copy back; return when the invoices since are there again."""
    stack = stage.stack
    await asyncio.sleep(stage.chance.uniform(3, 6))
    copy = await back_up(stack)
    copied = await invoices(stack)
    await asyncio.sleep(stage.chance.uniform(SESSION_SECONDS, 2 * SESSION_SECONDS))
    written = await invoices(stack)
    await restore(stack, copy)
    shutil.rmtree(copy)
    stage.did["restored"] += 1
    stage.did["invoices to write again"] += len(written.keys() - copied.keys())
    await _written_again(stack, written)


async def _written_again(stack: ChaosStack, written: Invoices) -> None:
    """Return once each of these invoices is there, as it was."""
    async with asyncio.timeout(READY_SECONDS):
        while missing := written.items() - (found := await invoices(stack)).items():
            differing = {id_ for id_, _ in missing} & found.keys()
            assert not differing, f"invoices were written again and differ: {differing}"
            await asyncio.sleep(0.2)
