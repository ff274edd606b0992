"""Apache Kafka in a container, for testcontainers: its own KafkaContainer is for another vendor's image."""

from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local.ports import LOOPBACK, free_port
from tests.containers.images import KAFKA

INSIDE, CONTROLLER = 9092, 9093
START_SECONDS = 120


class ApacheKafkaContainer(DockerContainer):
    """One broker (KRaft), small and with the settings that Tally needs of a broker.

    A client is told to come back to the advertised address, so the port outside is chosen before the start.
    """

    def __init__(self, image: str = KAFKA, **arguments: Any) -> None:
        super().__init__(image, **arguments)
        port = free_port()
        self.bootstrap = f"{LOOPBACK}:{port}"
        self.with_bind_ports(INSIDE, port)
        self.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS))
        self.with_env("CLUSTER_ID", "VGFsbHktdGVzdC1jbHVzdA")
        for name, value in _properties(self.bootstrap).items():
            self.with_env("KAFKA_" + name.replace(".", "_").upper(), value)


def _properties(bootstrap: str) -> dict[str, str]:
    return {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@localhost:{CONTROLLER}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://:{INSIDE},CONTROLLER://:{CONTROLLER}",
        "advertised.listeners": f"PLAINTEXT://{bootstrap}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.ms": "-1",
        "auto.create.topics.enable": "false",
        "message.max.bytes": "4194304",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
