"""The examination: everything is looked at, one after the other, each for a bounded time; what can't be looked at is a
finding too."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from aggregator.settings import AggregatorSettings
from aggregator.stream.offsets import Offsets
from deploy.cluster import Cluster
from deploy.doctor import workers
from deploy.doctor.backlog import find_backlog, judge_backlog
from deploy.doctor.catalog import look_at_catalog
from deploy.doctor.clocks import Skew, judge_clocks, leaders, measure_brokers, measure_postgres
from deploy.doctor.consumers import READERS, stored_positions, topics_of
from deploy.doctor.database import find_server, judge_migrations, judge_server
from deploy.doctor.finding import Finding, unknown
from deploy.doctor.kafka import find_brokers, judge_brokers
from deploy.doctor.log import Log, open_log
from deploy.doctor.machine import find_place, judge_open_files, judge_place, open_files_max
from deploy.doctor.parts import look_at_part
from deploy.doctor.privileges import find_access, granted, judge_access, roles_of
from deploy.doctor.reading import Positions, Reader, find_standings, judge_reading
from deploy.doctor.report import Report
from deploy.doctor.topics import judge_topics, missing
from deploy.migrate import connect, migrations
from ingest.broker import BrokerAway
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import Topic

SECOND_MS: Final = 1_000

Facts = TypeVar("Facts")


@dataclass(slots=True, frozen=True)
class Deployment:
    """What is examined, and how patiently: `check_seconds` for what is asked at once, `watch_seconds` to see whether a
    reader moves for which records wait."""

    settings: Settings
    worker: AggregatorSettings
    project_events: bool
    connections: int
    parts: Sequence[str]
    directories: Sequence[Path]
    check_seconds: float
    watch_seconds: float


async def examine(deployment: Deployment) -> Report:
    """Look at everything."""
    examination = _Examination(deployment)
    await examination.run()
    return Report(examination.findings)


class _Examination:
    """Collects findings."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._settings = deployment.settings
        self._seconds = deployment.check_seconds
        self._stalled_ms = deployment.worker.stalled_seconds * SECOND_MS
        self._ahead_ms = 0.0
        self.findings: list[Finding] = []

    async def run(self) -> None:
        cluster = await self._kafka()
        connection = await self._asked("postgres", connect(self._settings.database_url, "tally-doctor"))
        try:
            has_tables = connection is not None and await self._postgres(connection)
            known = connection if has_tables else None
            skews = await self._clocks(cluster, connection)
            if cluster is not None:
                self._ahead_ms = max((skew.ahead for skew in skews), default=0.0)
                await self._log(cluster, known)
                if known is not None:
                    await self._catalog(known)
        finally:
            if connection is not None:
                connection.terminate()  # close() would wait for an answer from a server that may be gone
        for url in self._deployment.parts:
            self.findings.append(await look_at_part(url, self._seconds))
        self._machine()

    async def _asked(self, check: str, asking: Awaitable[Facts], seconds: float | None = None) -> Facts | None:
        """The answer; where there is none in time, the finding that says so."""
        seconds = seconds or self._seconds
        answer = asyncio.ensure_future(asking)
        # The time is counted from without, for aiokafka has been seen to lose a cancellation.
        await asyncio.wait({answer}, timeout=seconds)
        if not answer.done():
            answer.cancel()
            remedy = "See how busy Kafka or Postgres is, or give it longer with --check-seconds."
            self.findings.append(unknown(check, f"there was no answer within {seconds:g} s", remedy))
            return None
        try:
            return answer.result()
        except OperatorError as error:
            remedy = "What depends on it was not checked."
            self.findings.append(unknown(check, str(error), remedy))
        except (KafkaError, BrokerAway, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            remedy = "See whether it is up, and whether this user and client may read all topics and tables."
            self.findings.append(unknown(check, f"it can't be read ({type(error).__name__}: {error})", remedy))
        return None

    async def _kafka(self) -> Cluster | None:
        """The brokers and the topics; the cluster, if it has all topics."""
        found = await self._asked("kafka", find_brokers(self._settings, self._seconds), 2 * self._seconds)
        if found is None:
            return None
        self.findings += judge_brokers(found, self._settings, self._deployment.worker)
        self.findings += judge_topics(found.cluster, _expected(self._settings, found.cluster))
        return None if missing(found.cluster, self._settings) else found.cluster

    async def _postgres(self, connection: asyncpg.Connection) -> bool:
        """The database; whether it has the tables."""
        server = await self._asked("postgres", find_server(connection))
        if server is None:
            return False
        known = migrations()
        self.findings += judge_server(server)
        self.findings.append(judge_migrations(server.applied, known))
        if server.applied is None:
            return False
        applied = {one.version for one in server.applied}
        grants = granted(migration for migration in known if migration.version in applied)
        access = await self._asked("roles", find_access(connection, roles_of(grants)))
        if access is not None:
            self.findings += judge_access(access, grants)
        backlog = await self._asked("outbox", find_backlog(connection))
        if backlog is not None:
            self.findings += judge_backlog(backlog)
        return True

    async def _clocks(self, cluster: Cluster | None, connection: asyncpg.Connection | None) -> list[Skew]:
        """How far the brokers' clocks are ahead; none where there are no brokers."""
        brokers: list[Skew] = []
        unseen: list[int] = []
        if cluster is not None:
            topic = self._settings.topic(Topic.USAGE_REPLIES)
            replies = cluster.topics[topic]
            asking = measure_brokers(self._settings.kafka, topic, replies, self._seconds)
            brokers = await self._asked("clocks", asking) or []
            unseen = [broker for broker in cluster.brokers if broker not in leaders(replies)]
        postgres = None if connection is None else await self._asked("clocks", measure_postgres(connection))
        self.findings += judge_clocks(brokers, unseen, postgres)
        return brokers

    async def _log(self, cluster: Cluster, connection: asyncpg.Connection | None) -> None:
        """Who reads the log, and how far they are."""
        await self._members(cluster)
        try:
            async with open_log(self._settings.kafka, self._seconds) as log:
                await self._workers(log, cluster)
                if connection is not None:
                    for consumer in READERS:
                        await self._consumer(log, cluster, connection, consumer)
        except (KafkaError, TimeoutError) as error:
            fact = f"it can't be read ({error or type(error).__name__})"
            self.findings.append(unknown("log", fact, "See whether the brokers are up and reachable from here."))

    async def _members(self, cluster: Cluster) -> None:
        group = f"{self._settings.topic_prefix}{self._deployment.worker.app_id}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka)

        async def members() -> int:
            await admin.start()
            return await workers.find_members(admin, group)

        try:
            count = await self._asked("consumer group", members())
        finally:
            await admin.close()
        if count is not None:
            self.findings.append(workers.judge_members(count, group, self._partitions(cluster)))

    async def _workers(self, log: Log, cluster: Cluster) -> None:
        count = self._partitions(cluster)
        partitions = await self._asked("ledger", workers.find_partitions(log, self._settings, count))
        if partitions is None:
            return
        self.findings += workers.judge_ledgers(partitions)

        async def positions() -> Offsets:
            found = await workers.find_partitions(log, self._settings, count)
            return workers.offsets_of(found, self._settings)

        await self._reader(log, workers.READER, positions)

    async def _consumer(self, log: Log, cluster: Cluster, connection: asyncpg.Connection, consumer: str) -> None:
        topics = topics_of(consumer, project_events=self._deployment.project_events)
        names = [self._settings.topic(topic) for topic in topics]
        places = [TopicPartition(name, part.number) for name in names for part in cluster.topics[name].partitions]

        async def positions() -> Offsets:
            return await stored_positions(connection, consumer, await log.begins(places))

        await self._reader(log, READERS[consumer], positions)

    async def _reader(self, log: Log, reader: Reader, positions: Positions) -> None:
        watch_seconds = self._deployment.watch_seconds
        watching = find_standings(log, positions, watch_seconds)
        standings = await self._asked(reader.check, watching, 2 * self._seconds + watch_seconds)
        if standings is not None:
            now = int(time.time() * SECOND_MS + self._ahead_ms)  # as the brokers' clocks show it
            self.findings += judge_reading(reader, standings, now, self._stalled_ms)

    async def _catalog(self, connection: asyncpg.Connection) -> None:
        topic = self._settings.topic(Topic.CATALOG)
        looking = look_at_catalog(connection, self._settings.kafka, topic, self._seconds)
        self.findings += await self._asked("catalog", looking, 6 * self._seconds) or []

    def _machine(self) -> None:
        places = [find_place(path) for path in self._deployment.directories]
        self.findings += [judge_place(place) for place in places]
        if places:
            self.findings.append(judge_open_files(open_files_max(), self._deployment.connections, places))

    def _partitions(self, cluster: Cluster) -> int:
        return len(cluster.topics[self._settings.topic(Topic.USAGE_EVENTS)].partitions)


def _expected(settings: Settings, cluster: Cluster) -> Settings:
    """The settings; where nobody has said how many partitions there are, they are as many as there are."""
    events = cluster.topics.get(settings.topic(Topic.USAGE_EVENTS))
    if events is None or "partitions" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"partitions": len(events.partitions)})
