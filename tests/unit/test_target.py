"""Which deployment a command works on: what flags and variables name, else the `tally up` on the data directory."""

import argparse
import json
import os
from pathlib import Path

import pytest

from deploy.target import READY_FILE, add_target_flags, settings_of_target

RUNNING = ("running:9092", "postgresql://running/tally")
DEFAULT = ("127.0.0.1:9092", "postgresql://127.0.0.1:5432/tally")
DATABASE = "postgresql://named/tally"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TALLY_KAFKA", "TALLY_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def named(data: Path, flags: list[str]) -> tuple[str, str]:
    parser = argparse.ArgumentParser()
    add_target_flags(parser)
    settings = settings_of_target(parser.parse_args([*flags, "--data", str(data)]))
    return settings.kafka, settings.database_url


def run_on(data: Path, pid: int) -> None:
    """As `tally up` does."""
    document = {"http": "http://running", "kafka": RUNNING[0], "postgres": RUNNING[1], "apiKey": "tally_x"}
    (data / READY_FILE).write_text(json.dumps({"pid": pid, "ready": f"ready {json.dumps(document)}"}))


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ([], {}, RUNNING),
        (["--database-url", DATABASE], {}, (RUNNING[0], DATABASE)),
        ([], {"TALLY_DATABASE_URL": DATABASE}, (RUNNING[0], DATABASE)),
        (["--kafka", "named:9092"], {}, ("named:9092", DEFAULT[1])),
        ([], {"TALLY_KAFKA": "named:9092"}, ("named:9092", DEFAULT[1])),
        ([], {"TALLY_KAFKA": "named:9092", "TALLY_DATABASE_URL": DATABASE}, ("named:9092", DATABASE)),
    ],
)
def test_what_is_named_goes_before_what_runs(
    flags: list[str],
    environment: dict[str, str],
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run_on(tmp_path, os.getpid())
    assert named(tmp_path, flags) == expected


def test_what_a_dead_process_left_is_not_looked_at(tmp_path: Path) -> None:
    run_on(tmp_path, pid=2**31 - 1)
    assert named(tmp_path, []) == DEFAULT
