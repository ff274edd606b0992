"""The image, and all of deploy/compose.yaml, once for all tests that look at them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from deploy.local.ports import LOOPBACK, free_port
from tests.containers.engine import Compose, build_image, engine, eventually

IMAGE = "tally:0.1.0"
PORTS = ("HTTP_PORT", "KAFKA_PORT", "POSTGRES_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
UP_SECONDS = 600


@pytest.fixture(scope="session")
def engine_name() -> str:
    """The engine's command."""
    name = engine()
    if name is None:
        pytest.skip("no container engine answers here (podman, docker)")
    return name


@pytest.fixture(scope="session")
def image(engine_name: str) -> str:
    """The image, built."""
    build_image(engine_name, IMAGE)
    return IMAGE


@dataclass(frozen=True)
class Composed:
    """A running compose project, as seen from outside."""

    compose: Compose
    ports: dict[str, int]
    key: str

    @property
    def http(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['HTTP_PORT']}"

    @property
    def kafka(self) -> str:
        return f"{LOOPBACK}:{self.ports['KAFKA_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['PROMETHEUS_PORT']}"

    def client(self) -> httpx.Client:
        """A client of the API, with the key."""
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.http}/api/v1/", headers=headers, timeout=30, trust_env=False)

    def is_ready(self) -> bool:
        """Whether the gateway is."""
        try:
            return httpx.get(f"{self.http}/health/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def composed(engine_name: str, image: str) -> Iterator[Composed]:
    """All services, started by one command in no order, and come good by themselves."""
    del image  # built already, so that `up --build` finds all of it in the cache
    ports = {name: free_port() for name in PORTS}
    settings = {name: str(port) for name, port in ports.items()} | {"TALLY_PARTITIONS": "4", "TALLY_GRACE_SECONDS": "3"}
    compose = Compose(engine_name, "tally-test", settings)
    try:
        compose("up", "--build", "--detach")
        try:
            eventually(Composed(compose, ports, "").is_ready, UP_SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"The gateway is not ready:\n{compose('logs', '--tail', '10')}") from error
        printed = compose("run", "--rm", "--entrypoint", "cat", "setup", "api-key")
        (key,) = re.findall(r"tally_[\w-]{43}", printed)
        yield Composed(compose, ports, key)
    finally:
        compose.remove()
