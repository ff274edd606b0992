"""What a person reads where a command can't do what it was told: one sentence on stderr, with what to do about it, and
an exit code that is not 0. Run as a person runs them."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from aggregator.engine.halt import HaltReason
from deploy.local.directory import hold_data_directory
from tests.integration.running_gateway import create_topics

EVERYWHERE_FREE = ("--http-port", "0", "--kafka-port", "0", "--postgres-port", "0")
AWAY = "127.0.0.1:1"
SECONDS_MAX = 60

USAGE, FAILED = 2, 1

BESIDE = re.compile(
    r"tally: starting |[0-9]{4}-[0-9]{2}-[0-9]{2}T.* \[(info|warning) *\] .* \[(aiokafka.*|aggregator.health)\]"
).match


def environment(**given: str) -> dict[str, str]:
    """This process's, without the settings of a Tally, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_") or name == "TALLY_CACHE"}
    return {**kept, "TALLY_LOG_FORMAT": "text", **given}


def tally(*arguments: str, cwd: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """A finished run of the command."""
    return subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**given),
        timeout=SECONDS_MAX,
        check=False,
    )


def told(run: subprocess.CompletedProcess[str]) -> str:
    """The sentence: what stderr holds beside the progress, and beside the log of a part."""
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if not BESIDE(line)]
    assert len(lines) == 1, run.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("line", "given", "code", "sentence"),
    [
        # not a command line
        ("", {}, USAGE, "required: COMMAND; see 'tally --help'."),
        ("invoices", {}, USAGE, "argument COMMAND: invalid choice: 'invoices'"),
        ("invoice", {}, USAGE, "required: id; see 'tally invoice --help'."),
        ("invoice inv", {}, FAILED, "No Tally runs on tally-data: name a gateway with --url, or start 'tally up'."),
        ("invoice inv --url nowhere", {}, FAILED, "'nowhere' is no URL: write --url as http://HOST:PORT."),
        ("invoice inv --url http://x", {}, FAILED, "Set TALLY_API_KEY to a key with the scope read ('tally keys "),
        ("held", {}, USAGE, "required: action; see 'tally held --help'."),
        ("held release --partition -1", {}, USAGE, "--partition: must be a whole number of 0 or more, not '-1'; see "),
        ("--log-level loud up", {}, USAGE, "argument --log-level: invalid choice: 'loud'"),
        (
            "up",
            {"TALLY_LOG_FORMAT": "xml"},
            USAGE,
            "(TALLY_LOG_FORMAT) can't be 'xml': input should be 'auto', 'json' or",
        ),
        ("up --color", {}, USAGE, "unrecognized arguments: --color; see 'tally --help'."),
        ("up --http-port www", {}, USAGE, "--http-port: invalid int value: 'www'; see 'tally up --help'."),
        ("up --workers 0", {}, USAGE, "--workers: must be a whole number of 1 or more, not '0'; see "),
        ("up --workers many", {}, USAGE, "--workers: must be a whole number of 1 or more, not 'many'; see "),
        ("load --rate -1", {}, USAGE, "--rate: must be a whole number of 1 or more, not '-1'; see "),
        ("topics --replication 0", {}, USAGE, "--replication: must be a whole number of 1 or more, not '0'; see "),
        ("keys", {}, USAGE, "required: action; see 'tally keys --help'."),
        ("keys create app --scope all", {}, USAGE, "argument --scope: invalid choice: 'all'"),
        ("replay", {}, USAGE, "required: trace; see 'tally replay --help'."),
        ("replay x.csv --via pigeon", {}, USAGE, "argument --via: invalid choice: 'pigeon'"),
        ("bench", {}, USAGE, "required: part; see 'tally bench --help'."),
        # a setting that can't be used, by flag or by variable, of the command or of a part that it would start
        ("up --partitions 0", {}, USAGE, "--partitions (TALLY_PARTITIONS) can't be '0': input should be greater than"),
        ("up --grace-seconds -5", {}, USAGE, "--grace-seconds (TALLY_GRACE_SECONDS) can't be '-5': "),
        ("up", {"TALLY_METRICS_PORT": "www"}, USAGE, "--metrics-port (TALLY_METRICS_PORT) can't be 'www': "),
        ("demo", {"TALLY_BATCH_RECORDS_MAX": "0"}, USAGE, "(TALLY_BATCH_RECORDS_MAX) can't be '0': "),
        ("demo", {"TALLY_CLOSER_LEASE_SECONDS": "0"}, USAGE, "(TALLY_CLOSER_LEASE_SECONDS) can't be '0': "),
        ("topics --partitions 2000", {}, USAGE, "--partitions (TALLY_PARTITIONS) can't be '2000': "),
        ("aggregator", {"TALLY_GRACE_SECONDS": "1h"}, USAGE, "--grace-seconds (TALLY_GRACE_SECONDS) can't be '1h': "),
        ("closer --closer-lease-seconds 0", {}, USAGE, "(TALLY_CLOSER_LEASE_SECONDS) can't be '0': "),
        ("gateway --http-port 65536", {}, USAGE, "--http-port (TALLY_HTTP_PORT) can't be '65536': "),
        ("projector --metrics-port -1", {}, USAGE, "--metrics-port (TALLY_METRICS_PORT) can't be '-1': "),
        # what is not there, or not what it should be
        ("replay none.csv", {}, FAILED, "none.csv can't be read as a trace ("),
        ("replay .", {}, FAILED, ". can't be read as a trace ("),
        ("up --data /dev/null", {}, FAILED, "/dev/null cannot be used as the data directory (File exists): choose "),
        ("up --http-port 70000", {}, FAILED, "on port 70000 (not a port number): choose another with --http-port."),
        ("up --http-port 0 --kafka-port 70000", {}, FAILED, "(not a port number): choose another with --kafka-port."),
        ("aggregator --state-dir /dev/null", {}, FAILED, "/dev/null can't be used as the state directory ("),
        ("gateway --http-host none.invalid", {}, FAILED, "The address none.invalid can't be used ("),
        ("closer --metrics-host none.invalid", {}, FAILED, "/metrics can't listen on none.invalid:0 ("),
        # Kafka
        ("topics", {"TALLY_KAFKA": AWAY}, FAILED, f"No Kafka broker answers at {AWAY}; start it, or set TALLY_KAFKA "),
        ("topics --kafka none.invalid", {}, FAILED, "No Kafka broker answers at none.invalid; start it, or set "),
        ("topics --kafka a:b:c", {}, USAGE, "(TALLY_KAFKA) can't be 'a:b:c': write HOST:PORT[,HOST:PORT...]."),
        (
            "aggregator",
            {"TALLY_KAFKA": AWAY},
            HaltReason.NO_BROKER.code,
            f"No Kafka broker answers at {AWAY}; start Kafka, or check TALLY_KAFKA",
        ),
        # Postgres
        ("migrate", {"TALLY_DATABASE_URL": f"postgresql://{AWAY}/x"}, FAILED, f"Postgres at {AWAY} can't be used ("),
        (
            "migrate --database-url mysql://db/x",
            {},
            USAGE,
            "(TALLY_DATABASE_URL) can't be what it is: write postgresql://",
        ),
        ("migrate --database-url postgresql://u:a/b@db/x", {}, USAGE, "password percent-encoded."),
        ("keys list", {"TALLY_DATABASE_URL": f"postgresql://{AWAY}/x"}, FAILED, f"Postgres at {AWAY} can't be used ("),
        (
            "keys list --database-url postgresql://db:www/x",
            {},
            USAGE,
            "(TALLY_DATABASE_URL) can't be what it is: write ",
        ),
    ],
)
def test_told_in_one_sentence(line: str, given: dict[str, str], code: int, sentence: str, tmp_path: Path) -> None:
    run = tally(*line.split(), cwd=tmp_path, **given)
    assert run.returncode == code
    assert run.stdout == ""
    assert sentence in told(run)
    assert told(run).startswith("tally")
    assert told(run).endswith(".")


def test_output_that_nobody_reads_on_ends_it_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as output:
        run = subprocess.run(
            [sys.executable, "-m", "deploy", "doctor", "--json", "--kafka", AWAY],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=SECONDS_MAX,
            check=False,
        )
    assert (run.returncode, run.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("option", ["--http-port", "--kafka-port", "--postgres-port"])
def test_a_taken_port_names_the_flag_that_changes_it(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        run = tally("up", *EVERYWHERE_FREE, option, str(port), "--data", str(tmp_path / "data"), cwd=tmp_path)
    assert run.returncode == FAILED
    assert re.search(rf"^tally up: Port {port} for .* is taken: .* choose another with {option}\.$", told(run))


def test_a_second_tally_on_the_same_data_is_refused(tmp_path: Path) -> None:
    lock = hold_data_directory(tmp_path)
    run = tally("up", *EVERYWHERE_FREE, "--data", str(tmp_path), cwd=tmp_path)
    lock.release()
    assert run.returncode == FAILED
    assert told(run) == (
        f"tally up: {tmp_path} is in use by another Tally: stop that one, or choose another directory with --data."
    )


def test_a_database_without_tables_is_to_be_migrated(database_url: str, tmp_path: Path) -> None:
    for line in ("keys list", "keys create app", "keys revoke key_1", "held release"):
        run = tally(*line.split(), cwd=tmp_path, TALLY_DATABASE_URL=database_url)
        assert run.returncode == FAILED
        assert told(run).endswith(": The database lacks Tally's tables: run 'tally migrate', then this again.")


def test_a_password_that_is_refused_is_not_shown(database_url: str, tmp_path: Path) -> None:
    url = re.sub(r"(?<=://)[^@]*(?=@)", "tally:hunter2", database_url)
    run = tally("migrate", cwd=tmp_path, TALLY_DATABASE_URL=url)
    assert run.returncode == FAILED
    assert "hunter2" not in run.stderr
    assert told(run).endswith("start it, or check TALLY_DATABASE_URL.")


async def test_topics_that_differ_are_all_named_and_none_is_made(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await create_topics(admin, [NewTopic(f"{topic_prefix}usage-events", 3, 1)])
    given = {"TALLY_KAFKA": kafka_bootstrap, "TALLY_TOPIC_PREFIX": topic_prefix}
    run = await asyncio.to_thread(tally, "topics", "--partitions", "2", cwd=tmp_path, **given)
    made = [name for name in await admin.list_topics() if name.startswith(topic_prefix)]
    await admin.close()
    assert run.returncode == FAILED
    assert f"{topic_prefix}usage-events has 3 partitions instead of 2" in told(run)
    assert f"{topic_prefix}usage-events has max.message.bytes=" in told(run)
    assert made == [f"{topic_prefix}usage-events"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_a_demo_that_is_still_starting_stops_when_it_is_told_to(name: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "demo", *EVERYWHERE_FREE, "--data", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        assert await process.stderr.readline() == b"tally: starting Kafka\n"
        process.send_signal(signal.Signals[name])
        rest = await process.stderr.read()
        assert await process.wait() == 130
    assert rest == b"tally: stopping\n"


@pytest.mark.parametrize("command", ["gateway", "aggregator", "closer", "projector", "insights", "audit"])
async def test_a_process_that_is_still_importing_handles_sigterm(command: str) -> None:
    """Were there no handler, the signal would end it here too, but not where it is process 1: there it is dropped."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "deploy", command),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        await process.stderr.readuntil(b" argparse\n")
        process.terminate()
        await process.stderr.read()
        assert await process.wait() == 128 + signal.SIGTERM
