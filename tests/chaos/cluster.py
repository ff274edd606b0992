"""Brokers beyond the one of `tally up`: one that clients reach through a proxy, and a cluster of three."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.kafka import LocalKafka, new_cluster_id
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import Command

NODES: Final = 3
HEAP_MIB: Final = 256
FORMED_SECONDS: Final = 60.0
IN_SYNC_SECONDS: Final = 120.0

REPLICATED: Final[Mapping[str, str]] = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


def broker_settings(
    node: int, port: int, controller_ports: Mapping[int, int], proxied: tuple[int, int] | None = None
) -> dict[str, str]:
    """The settings of a node by its ports. `proxied`: the port of one more listener, and the port that it tells its
    clients to use instead, where the proxy listens; brokers speak to each other past it."""
    listeners = {"PLAINTEXT": port, "CONTROLLER": controller_ports[node]}
    advertised = {"PLAINTEXT": port}
    if proxied is not None:
        listeners["PROXIED"], advertised["PROXIED"] = proxied
    return {
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{each}@{LOOPBACK}:{at}" for each, at in controller_ports.items()),
        "listeners": _addresses(listeners),
        "advertised.listeners": _addresses(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
    }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())


def kafka_behind_a_proxy(data: Path, proxy_port: int) -> tuple[LocalKafka, int]:
    """A broker as that of `tally up`, and the port to which a proxy on `proxy_port` must pass on."""
    port, behind = free_port(), free_port()
    settings = broker_settings(1, port, {1: free_port()}, (behind, proxy_port))
    return LocalKafka(data, port, heap_mib=HEAP_MIB, settings=settings), behind


class Cluster:
    """Three brokers, controllers too: every record is on all of them, and two must have it to acknowledge it."""

    def __init__(self, data: Path) -> None:
        cluster_id = new_cluster_id()
        self._ports = {node: free_port() for node in range(1, NODES + 1)}
        controller_ports = {node: free_port() for node in self._ports}
        self._nodes = {
            node: LocalKafka(
                data / f"node-{node}",
                port,
                heap_mib=HEAP_MIB,
                settings={**broker_settings(node, port, controller_ports), **REPLICATED},
                cluster_id=cluster_id,
            )
            for node, port in self._ports.items()
        }

    @property
    def bootstrap(self) -> str:
        """All three brokers."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._ports.values())

    async def prepare(self) -> list[Command]:
        """How to run the brokers, which must be started side by side: none is ready before there are two."""
        commands = [await node.prepare() for node in self._nodes.values()]
        return [replace(command, name=self.name_of(node)) for node, command in zip(self._nodes, commands, strict=True)]

    async def formed(self) -> None:
        """Return when all brokers can hold a topic."""
        async with asyncio.timeout(FORMED_SECONDS):
            while len((await self._described())[0]) < NODES:  # noqa: ASYNC110 - Kafka has no event for it
                await asyncio.sleep(0.1)

    async def leader_of(self, topic: str, partition: int) -> str:
        """The name of the broker that leads a partition now."""
        (found,) = (each for each in (await self._described())[1] if each["topic"] == topic)
        (leader,) = (each["leader"] for each in found["partitions"] if each["partition"] == partition)
        return self.name_of(leader)

    async def in_sync(self) -> None:
        """Return when every partition is on all brokers again."""
        async with asyncio.timeout(IN_SYNC_SECONDS):
            while not await self._is_in_sync():  # noqa: ASYNC110 - Kafka has no event for it
                await asyncio.sleep(0.2)

    async def _is_in_sync(self) -> bool:
        try:
            topics = (await self._described())[1]
        except KafkaError:
            return False
        return all(len(partition["isr"]) == NODES for topic in topics for partition in topic["partitions"])

    async def release(self) -> None:
        """Let go of the directories."""
        for node in self._nodes.values():
            await node.stop()

    @staticmethod
    def name_of(node: int) -> str:
        """The name of a broker's process."""
        return f"kafka-{node}"

    async def _described(self) -> tuple[list[Any], list[Any]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            return (await admin.describe_cluster())["brokers"], await admin.describe_topics()
        finally:
            await admin.close()
