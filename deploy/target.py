"""A running Tally, as the commands that send usage to it and read its invoices see it."""

import argparse
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.flags import ENV_PREFIX, add_flags, settings_of
from deploy.local.stack import Stack, StackOptions
from schemas.settings import Settings

READY_FILE = "ready.json"


@dataclass(frozen=True)
class Target:
    """Where its parts are; what `tally up` prints in its ready line."""

    http: str
    kafka: str
    database_url: str
    api_key: str

    @classmethod
    def of_ready_line(cls, line: str) -> "Target":
        """The target of a line `ready {...}`."""
        document = json.loads(line.removeprefix("ready "))
        return cls(document["http"], document["kafka"], document["postgres"], document["apiKey"])


def running_target(data: Path) -> Target | None:
    """The `tally up` that runs on a data directory, if one does."""
    file = data / READY_FILE
    try:
        document = json.loads(file.read_text())
        os.kill(document["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return Target.of_ready_line(document["ready"])


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """What settings_of_target() reads."""
    parser.add_argument("--data", type=Path, default=Path("tally-data"), help="of a running 'tally up' (tally-data)")
    add_flags(parser, Settings)


def settings_of_target(arguments: argparse.Namespace) -> Settings:
    """The deployment whose Kafka flags or environment name, else the one that runs on the data directory (flag --data),
    except for a database that they name. Raises SettingInvalid."""
    target = running_target(arguments.data)
    if target is not None and not _is_named(arguments, "kafka"):
        arguments.setting_kafka = target.kafka
        if not _is_named(arguments, "database_url"):
            arguments.setting_database_url = target.database_url
    return settings_of(arguments, Settings)


def _is_named(arguments: argparse.Namespace, setting: str) -> bool:
    return getattr(arguments, f"setting_{setting}") is not None or f"{ENV_PREFIX}{setting.upper()}" in os.environ


@asynccontextmanager
async def announced(stack: Stack, data: Path) -> AsyncIterator[None]:
    """Let other commands on this machine find the stack for as long as it runs."""
    file = data / READY_FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps({"pid": os.getpid(), "ready": stack.ready_line()}))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@asynccontextmanager
async def target_of(options: StackOptions, say: Callable[[str], None]) -> AsyncIterator[Target]:
    """The Tally that runs on the data directory, or one that runs for as long as this is needed."""
    if (target := running_target(options.data)) is not None:
        say(f"using the Tally that runs at {target.http}")
        yield target
        return
    async with Stack(options, say) as stack, announced(stack, options.data):
        yield Target.of_ready_line(stack.ready_line())
