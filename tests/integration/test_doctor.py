"""`tally doctor` on real servers: nothing to say of a deployment that is well, and each defect found with its way
out."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from aggregator.projector.job import Projector
from aggregator.settings import ProjectorSettings
from deploy.cluster import describe
from deploy.migrate import migrate, migrations
from schemas.topics import TOPICS, Topic
from tests.integration.running_gateway import until
from tests.integration.stream_world import eventually, working
from tests.integration.worker import Deployment, deployment

PARTITIONS = 2
AWAY = "127.0.0.1:1"


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state", PARTITIONS) as opened:
        yield opened


async def doctor(tally: Deployment, database_url: str, *flags: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Its exit code, and by outcome what it found."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "doctor", "--json", "--watch-seconds", "1", *flags),
        *("--kafka", tally.settings.kafka, "--topic-prefix", tally.settings.topic_prefix),
        *("--database-url", database_url),
        env={**os.environ, "TALLY_STALLED_SECONDS": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(printed)["findings"]:
        found.setdefault(finding["outcome"], []).append(finding)
    return process.returncode, found


async def test_a_deployment_that_is_well(tally: Deployment, database_url: str) -> None:
    await migrate(database_url)
    settings = ProjectorSettings(
        kafka=tally.settings.kafka, topic_prefix=tally.settings.topic_prefix, database_url=database_url
    )
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO api_keys (id, hash, scopes, name) VALUES ('k', '', '{}', 'k')")
    async with tally.worker(), working(Projector(settings).run):
        await tally.put(b"sub", b"{}", 0)
        await tally.decided(1)

        async def is_copied() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM rejected_usage_events"))

        await eventually(is_copied)
        code, found = await doctor(tally, database_url, "--dir", str(tally.state_dir))
    await connection.close()
    assert code == 0, found
    # Tests run on one broker, and perhaps on a disk that is nearly full.
    assert {finding["check"] for finding in found.get("warn", [])} <= {"replication", "disk", "open files"}
    facts = {finding["check"]: finding["fact"] for finding in found["ok"]}
    assert facts["ledger"].endswith("1 received = 0 accepted + 0 duplicate + 1 rejected + 0 forwarded")
    assert facts["workers"] == "6 partitions, nothing waits"
    assert facts["projector"] == "8 partitions, nothing waits"
    assert facts["consumer group"].startswith("1 worker in ")


async def test_each_defect_is_found_with_its_way_out(tally: Deployment, database_url: str) -> None:
    *_, last = migrations()
    await migrate(database_url, migrations()[:-1])
    prefix = tally.settings.topic_prefix
    await spoil_topic(tally, Topic.USAGE_EVENTS, "retention.ms", "86400000")
    await spoil_topic(tally, Topic.USAGE_CORRECTIONS, "message.timestamp.type", "CreateTime")
    await spoil_database(database_url, f"{prefix}{Topic.CLOSED_PERIODS}")
    await tally.publish({"kind": "service", "id": "svc_lost", "name": "Lost"})
    await tally.put(b"sub", b"{}", 1)
    await tally.put_on(Topic.AGGREGATOR_POSITIONS, b"0", LEDGER_THAT_DOES_NOT_ADD_UP, 0)

    code, found = await doctor(tally, database_url, "--part", f"http://{AWAY}", "--partitions", "3")
    said = {(finding["check"], finding["fact"], finding["remedy"]) for finding in found["fail"]}
    expected = {
        ("partitions", "usage-events has 2, and TALLY_PARTITIONS is 3", "Set TALLY_PARTITIONS to 2 everywhere"),
        ("topic settings", f"{prefix}usage-events has retention.ms=86400000 instead of -1", "run 'tally audit'"),
        ("topic settings", f"{prefix}usage-corrections has message.timestamp.type=CreateTime instead of", "(27)"),
        ("migrations", f"{last.name} is not applied", "Run 'tally migrate'"),
        ("roles", "may do more than its process does (1)", "REVOKE UPDATE ON invoices FROM tally_closer;"),
        ("outbox", "1 changes of the catalog are not published, the oldest for 3,6", "see that one runs"),
        ("held periods", "1 DIVERGED", "'Held periods' in docs/operations.md"),
        ("consumer group", f"no worker is in the group {prefix}tally", "Start 'tally aggregator'"),
        ("ledger", "partition 0, offset 0: its ledger does not add up", "run 'tally audit'"),
        ("workers", f"nothing is decided though records wait: {prefix}usage-events-1 (1)", "Start 'tally aggregator'"),
        ("closer", f"the log ends before what was invoiced: {prefix}closed-periods-0 (position 7", "made anew"),
        ("projector", f"nothing is copied though records wait: {prefix}aggregator-positions-0", "Start 'tally proj"),
        ("catalog", "holds version 1 of service/svc_lost and Postgres none", "(37)"),
        ("part", f"http://{AWAY} does not answer", "Start it"),
    }
    assert code == 1
    assert len(said) == len(expected), said
    for check, fact, remedy in expected:
        assert [one for one in said if one[0] == check and fact in one[1] and remedy in one[2]], (check, said)
    assert {finding["check"] for finding in found["warn"]} == {"replication", "webhooks", "api keys"}
    assert "unknown" not in found


LEDGER_THAT_DOES_NOT_ADD_UP = json.dumps(
    {
        "positions": {"usage-events": 9, "usage-forwarded": 0, "usage-corrections": 0},
        "partitions": PARTITIONS,
        "prev": None,
        "ledger": {
            "received": 9,
            "accepted": 8,
            **dict.fromkeys(("duplicate", "rejected", "forwarded", "forwardedIn", "forwardedInAccepted"), 0),
            **dict.fromkeys(("forwardedInDuplicate", "forwardedInRejected", "voids", "voidsRepeated"), 0),
            "voidsRejected": 0,
        },
        "last": {},
    }
).encode()


async def spoil_topic(tally: Deployment, topic: Topic, setting: str, value: str) -> None:
    configs: dict[str, Any] = next(known.configs for known in TOPICS if known.topic is topic) | {setting: value}
    admin = AIOKafkaAdminClient(bootstrap_servers=tally.settings.kafka)
    await admin.start()
    name = tally.settings.topic(topic)
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])

    async def is_in_force() -> bool:
        return (await describe(admin, [name])).topics[name].configs[setting] == value

    await until(is_in_force)
    await admin.close()


async def spoil_database(database_url: str, closed_periods: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("GRANT UPDATE ON invoices TO tally_closer")
    await connection.execute(
        "INSERT INTO held_periods (log_partition, log_offset, reason, detail) VALUES (0, 0, 'DIVERGED', 'by two')"
    )
    await connection.execute(
        "INSERT INTO catalog_outbox (key, version, payload, created_at)"
        " VALUES ('service/a', 1, '{}', now() - interval '1 hour')"
    )
    await connection.execute(
        "INSERT INTO webhook_deliveries (type, data, parked_at) VALUES ('alert.firing', '{}', now())"
    )
    await connection.execute("INSERT INTO stream_offsets VALUES ('closer', $1, 0, 7)", closed_periods)
    await connection.close()


async def test_what_can_not_be_asked_is_said_and_no_password_with_it(tally: Deployment) -> None:
    code, found = await doctor(tally, f"postgresql://tally:hunter2@{AWAY}/tally", "--check-seconds", "30")
    (blind,) = found["unknown"]
    assert blind["check"] == "postgres"
    assert "hunter2" not in json.dumps(found)
    assert (code, [finding["check"] for finding in found["fail"]]) == (1, ["consumer group"])
