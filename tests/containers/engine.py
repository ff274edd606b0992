"""The engine that runs containers here: podman or Docker, by its own command, and compose on it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 900


class CommandFailed(AssertionError):
    """A command of the engine failed; the text is all that it said."""


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints on stdout. Raises CommandFailed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def engine() -> str | None:
    """The command of the engine; None where there is none."""
    return next((name for name in ("podman", "docker") if _succeeds(name, "info")), None)


def build_image(name: str, tag: str) -> None:
    """Build deploy/Dockerfile."""
    # Podman's own format has no place for a health check.
    form = ["--format=docker"] if name == "podman" else []
    run(name, "build", *form, "--file=deploy/Dockerfile", f"--tag={tag}", ".")


class Container:
    """One container, found again by its id."""

    def __init__(self, name: str, container_id: str) -> None:
        self._engine = name
        self.id = container_id

    def inspect(self) -> dict[str, Any]:
        """All that the engine knows of it."""
        (found,) = json.loads(run(self._engine, "inspect", "--type=container", self.id))
        return dict(found)

    def is_healthy(self) -> bool:
        """What its health check says. Podman leaves it to systemd to ask, and not every machine has one: ask now."""
        if self._engine == "docker":
            return bool(self.inspect()["State"]["Health"]["Status"] == "healthy")
        return _succeeds(self._engine, "healthcheck", "run", self.id)

    def signal(self, number: int) -> None:
        """Send its first process a signal, as an accident would: after the engine's own `kill` there is no restart."""
        os.kill(self.inspect()["State"]["Pid"], number)

    def execute(self, *command: str) -> str:
        """What a command inside prints. Raises CommandFailed."""
        return run(self._engine, "exec", self.id, *command)

    def started_at(self) -> str:
        """Another text after each start."""
        return str(self.inspect()["State"]["StartedAt"])

    def exit_code(self) -> int | None:
        """None while it runs."""
        state = self.inspect()["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def logs(self) -> str:
        """What it said on both streams."""
        done = subprocess.run([self._engine, "logs", self.id], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


class Compose:
    """deploy/compose.yaml as a project of its own, with ports of its own."""

    def __init__(self, name: str, project: str, environment: Mapping[str, str]) -> None:
        self._engine = name
        self._project = project
        self._environment = {**environment, "BUILDAH_FORMAT": "docker"}
        has_compose = name == "docker" and _succeeds("docker", "compose", "version")
        program = ["docker", "compose"] if has_compose else [sys.executable, "-m", "podman_compose"]
        self._command = [*program, "--project-name", project, "--file", "deploy/compose.yaml"]

    def __call__(self, *arguments: str) -> str:
        """What the command prints. Raises CommandFailed."""
        return run(*self._command, *arguments, environment=self._environment)

    def container(self, service: str) -> Container:
        """The container of a service, running or not. Raises LookupError."""
        found = self._containers(f"--filter=label=com.docker.compose.service={service}")
        if len(found) != 1:
            raise LookupError(f"{service} has {len(found)} containers")
        return Container(self._engine, found[0])

    def _containers(self, *filters: str) -> list[str]:
        of_project = f"--filter=label=com.docker.compose.project={self._project}"
        return run(self._engine, "ps", "--all", "--quiet", "--no-trunc", of_project, *filters).split()

    def remove(self) -> None:
        """Stop and remove all of it, with its volumes."""
        if found := self._containers():  # first, for podman does not remove one that is just being restarted
            run(self._engine, "rm", "--force", "--volumes", *found)
        self("down", "--volumes")


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Return when the condition holds; TimeoutError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.2)
