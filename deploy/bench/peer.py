"""The same job on Kafka Streams, to be measured beside Tally: a program of its own, which is not part of the project.

It is a folder with a `pom.xml`, or one that has it in `kstreams/`, whose `mvn package` makes `target/meter.jar` and
`target/lib`. It is run as it is fastest: exactly_once_v2, RocksDB, a heap of 1 to 2 GiB with the parallel collector.
"""

import asyncio
import shutil
import struct
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from deploy.bench.stage import Stage
from deploy.bench.window import Committed, Figures, watch
from deploy.log import reader_of, to_the_end
from schemas.errors import OperatorError
from schemas.topics import Topic

APP: Final = "peer"
REJECTS: Final = "peer-rejects"
POLL_SECONDS: Final = 0.02
JVM: Final = ("-Xms1g", "-Xmx2g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class PeerUnusable(OperatorError):
    """The peer can't be built or run."""

    exit_code = 2


@dataclass(frozen=True)
class Peer:
    """A program that is built. `versions` is what it runs on."""

    target: Path
    versions: dict[str, str]


async def built(directory: Path, scratch: Path) -> Peer:
    """The program of a folder; where it is not built yet, that is done in a copy in `scratch`. Raises PeerUnusable."""
    source = next((place for place in (directory, directory / "kstreams") if (place / "pom.xml").is_file()), None)
    if source is None:
        raise PeerUnusable(
            f"{directory} holds no Kafka Streams program (no pom.xml, nor kstreams/pom.xml): name the folder of the "
            "peers, or leave --peer out."
        )
    if shutil.which("java") is None:
        raise PeerUnusable("The peer needs Java: install a JDK of version 17 or newer, or leave --peer out.")
    target = source / "target"
    if not (target / "meter.jar").is_file():
        target = await _build(source, scratch)
    streams = next((jar.stem for jar in (target / "lib").glob("kafka-streams-*.jar")), "kafka-streams-unknown")
    said = await _output("java", "-version")
    return Peer(target, {"java": said.splitlines()[0], "kafka_streams": streams.removeprefix("kafka-streams-")})


async def _build(source: Path, scratch: Path) -> Path:
    if shutil.which("mvn") is None:
        raise PeerUnusable(
            f"{source}/target/meter.jar is missing and there is no mvn to build it: install Maven, or build it "
            "elsewhere with 'mvn -q -B package' and name that folder."
        )
    copy = scratch / "peer-program"
    await asyncio.to_thread(shutil.copytree, source, copy, ignore=shutil.ignore_patterns("target"))
    said = await _output("mvn", "-q", "-B", "-f", str(copy / "pom.xml"), "package")
    if not (copy / "target" / "meter.jar").is_file():
        raise PeerUnusable(
            f"The peer in {source} can't be built: 'mvn -q -B package' there says why ({said[-300:]!r})."
        )
    return copy / "target"


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip()


async def run(stage: Stage, peer: Peer, threads: int, commit_ms: int) -> Figures:
    """Let the program decide all that is in the topic."""
    async with _running(stage, peer, threads, commit_ms) as process:
        window = await watch(_committed(stage), [process], stage.kafka.pid, stage.workload)
    return window.figures(await _is_exact(stage))


@asynccontextmanager
async def _running(stage: Stage, peer: Peer, threads: int, commit_ms: int) -> AsyncIterator[Process]:
    async with _admin(stage.settings.kafka) as admin:
        await admin.create_topics([NewTopic(REJECTS, stage.settings.partitions, 1)])
    command = _command(stage, peer, threads, commit_ms)
    log = stage.directory / "peer.log"
    with log.open("wb") as words:
        process = await asyncio.create_subprocess_exec(*command, stdout=words, stderr=STDOUT)
        try:
            yield process
        except OperatorError as error:
            said = (await asyncio.to_thread(log.read_text, errors="replace"))[-1_000:]
            raise OperatorError(f"The peer failed: {error} Its last words: {said!r}") from error
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _command(stage: Stage, peer: Peer, threads: int, commit_ms: int) -> list[str]:
    """How it is started, on a file with the workload's subscriptions."""
    subscriptions = stage.directory / "subscriptions.tsv"
    names = map(stage.workload.names, range(stage.workload.subscriptions))
    subscriptions.write_text("".join("\t".join((*some, "ACTIVE\n")) for some in names))
    flags = {
        "bootstrap": stage.settings.kafka,
        "app": APP,
        "input": stage.settings.topic(Topic.USAGE_EVENTS),
        "rejects": REJECTS,
        "subscriptions": str(subscriptions),
        "state-dir": str(stage.directory / "peer-state"),
        "guarantee": "exactly_once_v2",
        "store": "rocksdb",
        "commit-ms": str(commit_ms),
        "threads": str(threads),
    }
    classes = f"{peer.target / 'meter.jar'}:{peer.target / 'lib'}/*"
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    return ["java", *JVM, "-cp", classes, "meter.Meter", *words]


@asynccontextmanager
async def _admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _committed(stage: Stage) -> AsyncGenerator[Committed]:
    """The offsets that its group has committed, with the events; without end."""
    settings, loop = stage.settings, asyncio.get_running_loop()
    topic = settings.topic(Topic.USAGE_EVENTS)
    places = [TopicPartition(topic, number) for number in range(settings.partitions)]
    events = commits = 0
    async with _admin(settings.kafka) as admin:
        while True:
            try:
                found = await admin.list_consumer_group_offsets(APP, partitions=places)
            except KafkaError:  # the group is not known yet, or its coordinator
                found = {}
            reached = sum(max(0, place.offset) for place in found.values())
            commits += reached > events
            events = max(events, reached)
            yield Committed(events, commits, loop.time())
            await asyncio.sleep(POLL_SECONDS)


async def _is_exact(stage: Stage) -> bool:
    """Whether its sums are as expected, and as many keys and duplicates were written as there are.

    Its keys are counted and not compared: a key that is written was not there before, so none is written twice, and to
    hold fifty million of them takes memory that is not there.
    """
    expected, partitions = stage.expected, stage.settings.partitions
    sums: dict[tuple[str, str, str], int] = {}
    keys, reasons = 0, list[bytes]()
    async with reader_of(stage.settings.kafka, f"{APP}-sums-changelog", partitions) as consumer:
        async for record in to_the_end(consumer):
            subscription_id, month, meter = record.key.decode().split("\0")
            sums[subscription_id, f"{month}-01T00:00:00.000Z", meter] = struct.unpack(">q", record.value)[0]
    async with reader_of(stage.settings.kafka, f"{APP}-keys-changelog", partitions) as consumer:
        async for _ in to_the_end(consumer):
            keys += 1
    async with reader_of(stage.settings.kafka, REJECTS, partitions) as consumer:
        async for record in to_the_end(consumer):
            reasons.append(dict(record.headers)["reason"])
    return sums == expected.sums and keys == expected.accepted and reasons == [b"duplicate"] * expected.duplicates
