"""Apache Kafka on this machine: the real broker, one node (KRaft), on the loopback interface only."""

import asyncio
import base64
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local.directory import Claim, open_data_directory
from deploy.local.jars import cached_jars, default_cache
from deploy.local.java import ENVIRONMENT, ClassArchive, java
from deploy.local.ports import LOOPBACK, free_port, usable_port
from deploy.local.process import Command, Process, finished, started

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
# Relative to the broker's working directory, so that no character of a path can be taken for syntax.
log.dirs={log_dir}

# What Tally relies on: one clock (the broker's), sources that are kept, topics that are made on purpose.
log.message.timestamp.type=LogAppendTime
log.retention.ms=-1
auto.create.topics.enable=false
# rejected-usage takes 3 MiB: a record of the largest size (1 MiB) with what was wrong with it.
message.max.bytes=4194304

# One node, small and quick to start.
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
# A broker that was killed may not come back before its old session has ended: 3 s instead of Kafka's 9.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

_LARGE = {"log.cleaner.dedupe.buffer.size": str(128 << 20)}
"""Kafka's own default. With the 16 MiB above a compaction takes 600,000 keys in at a time, and copies all that it has
compacted before each time, which is too much where a partition has many millions."""

QUICK_TO_START = ("-XX:TieredStopAtLevel=1",)
MEASURED: tuple[str, ...] = ()
"""How a broker is compiled."""

LOGGING = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m %throwable{short.message} (%c{1})%n%throwable
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


class LocalKafka:
    """A broker whose data lives in `data`, restartable on it with any port.

    Port 0 is any free one. `start` runs it as a child of this process; a supervisor takes `prepare` instead.
    `settings` go into server.properties after those of a single node, whose place they take; nodes that are to form a
    cluster are formatted with the same `cluster_id`. One `to_measure` is compiled as brokers in production are, which
    takes it a minute of load; else it is compiled for a quick start, and takes half as much again for each request.
    """

    def __init__(
        self,
        data: Path,
        port: int = 0,
        cache: Path | None = None,
        heap_mib: int = 768,
        settings: Mapping[str, str] = MappingProxyType({}),
        cluster_id: str | None = None,
        to_measure: bool = False,
    ) -> None:
        self._data = data.resolve()
        self._home = self._data / "kafka"
        self._port = port
        self._cache = (cache or default_cache()).resolve()
        self._heap_mib = heap_mib
        self._own_settings = {**(_LARGE if to_measure else {}), **settings}
        self._cluster_id = cluster_id or new_cluster_id()
        self._to_measure = to_measure
        self._claim = Claim(self._home)
        self._process: Process | None = None

    @property
    def bootstrap(self) -> str:
        """HOST:PORT; known once it has been prepared."""
        assert self._port, "not prepared"
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    async def start(self) -> None:
        command = await self.prepare()
        try:
            self._process = await started(command)
        except BaseException:
            self._claim.release()
            raise

    async def stop(self) -> None:
        """Stop the broker if it was started here, and let go of the directory."""
        if self._process:
            await self._process.stop()
            self._process = None
        self._claim.release()

    async def prepare(self) -> Command:
        """Claim the directory, fetch and format what is missing, and say how to run the broker."""
        open_data_directory(self._data)
        async with self._claim.taking():
            self._port = usable_port(self._port, "Kafka", "--kafka-port")
            archive = await self._prepare_classes()
            self._write_files()
            await self._format(archive)
        return Command(
            name="kafka",
            argv=(*self._jvm(archive, archive.use_or_make()), "kafka.Kafka", "server.properties"),
            env=ENVIRONMENT,
            cwd=self._home,
            log=self._data / "logs" / "kafka.log",
            inherited_fds=(self._claim.server_fd,),
            ready=self._is_ready,
            exited=archive.keep,
        )

    async def _prepare_classes(self) -> ClassArchive:
        jars = await cached_jars(self._cache)
        archive = ClassArchive(jars[0].parent, jars)
        await archive.make_base()
        return archive

    def _write_files(self) -> None:
        temporary = self._home / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        (self._home / "log4j2.properties").write_text(LOGGING)
        (self._home / "server.properties").write_text(self._settings("log"))

    def _settings(self, log_dir: str) -> str:
        settings = SETTINGS.format(host=LOOPBACK, port=self._port, controller_port=free_port(), log_dir=log_dir)
        return settings + "".join(f"{name}={value}\n" for name, value in self._own_settings.items())

    async def _format(self, archive: ClassArchive) -> None:
        """Format the storage once: in a draft, so that an interrupted one is never taken for whole."""
        log_dir = self._home / "log"
        if log_dir.exists():
            return
        draft = self._home / "log.draft"
        shutil.rmtree(draft, ignore_errors=True)
        (self._home / "format.properties").write_text(self._settings(draft.name))
        await finished(
            Command(
                name="Formatting Kafka's storage",
                argv=(
                    *self._jvm(archive, archive.use()),
                    "kafka.tools.StorageTool",
                    "format",
                    f"--cluster-id={self._cluster_id}",
                    "--config=format.properties",
                ),
                env=ENVIRONMENT,
                cwd=self._home,
                log=self._data / "logs" / "kafka-format.log",
            )
        )
        draft.rename(log_dir)

    def _jvm(self, archive: ClassArchive, archive_options: list[str]) -> tuple[str, ...]:
        return (
            str(java()),
            f"-Xms{min(96, self._heap_mib)}m",
            f"-Xmx{self._heap_mib}m",
            "-XX:+UseSerialGC",
            *(MEASURED if self._to_measure else QUICK_TO_START),
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            "-Xlog:disable",
            *archive_options,
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-Djava.awt.headless=true",
            # The codecs unpack native libraries there, which a machine's own /tmp may not let run.
            f"-Djava.io.tmpdir={self._home / 'tmp'}",
            "-Dlog4j2.configurationFile=log4j2.properties",
            "-cp",
            archive.classpath,
        )

    async def _is_ready(self) -> bool:
        """The broker opens its port a moment before it counts itself among the brokers that can hold a topic."""
        try:
            _reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
        except OSError:
            return False
        writer.close()
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        except KafkaError:
            return False
        finally:
            await client.close()


def new_cluster_id() -> str:
    """A random id in Kafka's spelling: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
