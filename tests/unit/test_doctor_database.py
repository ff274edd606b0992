"""What `tally doctor` says of Postgres, of parts and of disks: one defect a row; and how a report reads."""

import resource
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.doctor.backlog import OUTBOX_SECONDS, WEBHOOK_SECONDS, Backlog, Held, judge_backlog
from deploy.doctor.catalog import judge_catalog
from deploy.doctor.database import Applied, Server, judge_migrations, judge_server
from deploy.doctor.finding import Finding, Outcome, fail, ok, unknown, warn
from deploy.doctor.machine import GIB, Place, find_place, judge_open_files, judge_place
from deploy.doctor.parts import judge_part
from deploy.doctor.privileges import Access, Privilege, granted, judge_access
from deploy.doctor.report import Report
from deploy.migrate import Migration, migrations

SERVER = {
    "version": "18.4",
    "version_number": 180_004,
    "is_standby": False,
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "connections_max": 100,
    "connections": 80,
    "bytes": 2**20,
}
WEBHOOKS = {"webhooks_parked": 0, "webhooks_waiting": 0, "webhooks_oldest_seconds": 0.0}
BACKLOG = {"unpublished": 0, "oldest_seconds": None, "keys": 1, "processing_failed": 0, **WEBHOOKS}


def wrong(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.outcome) for finding in findings if finding.outcome is not Outcome.OK]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"version_number": 170_009}, [("postgres", "warn")]),
        ({"version_number": 140_000}, [("postgres", "fail")]),
        ({"is_standby": True}, [("postgres", "fail")]),
        ({"fsync": "off"}, [("durability", "fail")]),
        ({"synchronous_commit": "off", "full_page_writes": "off"}, [("durability", "fail")]),
        ({"connections": 81}, [("connections", "warn")]),
    ],
)
def test_server(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert wrong(judge_server(Server({**SERVER, **changes}, []))) == expected


KNOWN = [Migration(1, "one", "a"), Migration(2, "two", "b")]
APPLIED = [Applied(one.version, one.title, one.checksum) for one in KNOWN]


@pytest.mark.parametrize(
    ("applied", "fact", "remedy"),
    [
        (APPLIED, "all 2 are applied", ""),
        (None, "has none of Tally's tables", "Run 'tally migrate'"),
        (APPLIED[:1], "0002_two is not applied", "Run 'tally migrate'"),
        ([*APPLIED, Applied(3, "three", "?")], "has 0003_three, which this version does not know", "older than the"),
        ([APPLIED[0], replace(APPLIED[1], checksum="?")], "0002_two was applied with another text", "released version"),
    ],
)
def test_migrations(applied: list[Applied] | None, fact: str, remedy: str) -> None:
    said = judge_migrations(applied, KNOWN)
    assert fact in said.fact
    assert remedy in said.remedy
    assert (said.outcome is Outcome.OK) == (remedy == "")


GRANTS = granted(
    [
        Migration(
            1,
            "grants",
            "GRANT SELECT, INSERT ON a, b TO writer;  -- GRANT ALL ON a TO nobody\n"
            "GRANT UPDATE (x,\n  y), SELECT\n    ON a TO reader;\n    EXECUTE format('GRANT %I TO ...');\n",
        )
    ]
)
COLUMNS = {"a": ["x", "y", "z"], "b": ["x"]}


def of(role: str, table: str, privilege: str, columns: str) -> set[Privilege]:
    return {Privilege(role, table, privilege, column) for column in columns}


ALL = (
    of("writer", "a", "SELECT", "xyz")
    | of("writer", "a", "INSERT", "xyz")
    | of("writer", "b", "SELECT", "x")
    | of("writer", "b", "INSERT", "x")
    | of("reader", "a", "UPDATE", "xy")
    | of("reader", "a", "SELECT", "xyz")
)


@pytest.mark.parametrize(
    ("access", "remedies"),
    [
        (Access(frozenset(ALL), COLUMNS, [], []), []),
        (
            Access(frozenset(ALL - of("writer", "a", "INSERT", "xyz")), COLUMNS, [], []),
            ["GRANT INSERT ON a TO writer;"],
        ),
        (
            Access(frozenset(ALL - of("reader", "a", "UPDATE", "y")), COLUMNS, [], []),
            ["GRANT UPDATE (y) ON a TO reader;"],
        ),
        (
            Access(frozenset(ALL | of("reader", "a", "UPDATE", "z")), COLUMNS, [], []),
            ["REVOKE UPDATE (z) ON a FROM reader;"],
        ),
        (
            Access(frozenset(ALL | {Privilege("writer", "b", "DELETE", None)}), COLUMNS, [], []),
            ["REVOKE DELETE ON b FROM writer;"],
        ),
        (Access(frozenset(ALL), COLUMNS, [], ["reader"]), ["GRANT reader TO the user of TALLY_DATABASE_URL."]),
        (
            Access(frozenset(p for p in ALL if p.role == "writer"), COLUMNS, ["reader"], []),
            ["Roles belong to the server"],
        ),
    ],
)
def test_access(access: Access, remedies: list[str]) -> None:
    said = [finding.remedy for finding in judge_access(access, GRANTS) if finding.outcome is Outcome.FAIL]
    assert len(said) == len(remedies)
    assert all(found.startswith(expected) for found, expected in zip(said, remedies, strict=True))


def test_every_grant_of_the_migrations_is_understood() -> None:
    found = {(grant.role, grant.table, grant.privilege) for grant in granted(migrations())}
    assert ("tally_closer", "invoices", "INSERT") in found
    assert ("tally_gateway", "invoices", "UPDATE") in found
    assert not {grant for grant in found if grant[:2] == ("tally_closer", "invoices")} & {
        ("tally_closer", "invoices", privilege) for privilege in ("UPDATE", "DELETE", "TRUNCATE")
    }
    with pytest.raises(AssertionError, match="0009_odd has a grant that is not understood"):
        granted([Migration(9, "odd", "GRANT SELECT ON a TO b, c;")])


@pytest.mark.parametrize(
    ("facts", "holds", "expected"),
    [
        ({}, [], []),
        ({"unpublished": 3, "oldest_seconds": OUTBOX_SECONDS - 0.1}, [], []),
        ({"unpublished": 3, "oldest_seconds": OUTBOX_SECONDS}, [], [("outbox", "fail")]),
        ({"keys": 0}, [], [("api keys", "warn")]),
        ({"processing_failed": 1}, [], [("failed events", "warn")]),
        ({"webhooks_parked": 1}, [], [("webhooks", "warn")]),
        ({"webhooks_waiting": 2, "webhooks_oldest_seconds": WEBHOOK_SECONDS - 0.1}, [], []),
        ({"webhooks_waiting": 2, "webhooks_oldest_seconds": WEBHOOK_SECONDS}, [], [("webhooks", "warn")]),
        ({}, [Held("DIVERGED", 2, datetime(2026, 1, 1, tzinfo=UTC))], [("held periods", "fail")]),
    ],
)
def test_backlog(facts: dict[str, Any], holds: list[Held], expected: list[tuple[str, str]]) -> None:
    assert wrong(judge_backlog(Backlog({**BACKLOG, **facts}, holds))) == expected


@pytest.mark.parametrize(("lost", "expected"), [({}, []), ({"invoice/in_1": 2}, [("catalog", "warn")])])
def test_catalog(lost: dict[str, int], expected: list[tuple[str, str]]) -> None:
    assert wrong(judge_catalog(5, lost)) == expected


@pytest.mark.parametrize(
    ("status", "body", "outcome", "fact"),
    [
        (200, '{"status": "ready"}', "ok", "http://p is ready"),
        (503, '{"details": [{"message": "One."}, {"message": "Two."}]}', "fail", "http://p is not ready: One. Two."),
        (503, "No backend.", "fail", "http://p/health/ready answers 503, and not as a part of Tally does"),
        (503, "[]", "fail", "http://p/health/ready answers 503, and not as a part of Tally does"),
        (404, '{"details": [{"message": "?"}]}', "fail", "http://p/health/ready answers 404, and not as a part of"),
        (200, "Prometheus Server is Ready.", "fail", "http://p/health/ready answers 200, and not as a part of Tally"),
        (200, '{"status": "live"}', "fail", "http://p/health/ready answers 200, and not as a part of Tally does"),
    ],
)
def test_part(status: int, body: str, outcome: str, fact: str) -> None:
    said = judge_part("http://p", status, body)
    assert said.outcome == outcome
    assert said.fact.startswith(fact)


def disk(percent: int, **facts: Any) -> Place:
    return replace(Place(Path("state"), "", percent * GIB, 100 * GIB, 100, 100), **facts)


@pytest.mark.parametrize(
    ("place", "outcome"),
    [
        (disk(15), "ok"),
        (disk(14), "warn"),
        (disk(5), "warn"),
        (disk(4), "fail"),
        (disk(50, free_files=4), "fail"),
        (disk(50, free_files=0, files=0), "ok"),  # a file system that counts none
        (disk(50, is_writable=False), "fail"),
        (find_place(Path("there", "is", "none")), "unknown"),
    ],
)
def test_disk(place: Place, outcome: str) -> None:
    assert judge_place(place).outcome == outcome


def test_a_directory_of_this_machine_has_a_disk(tmp_path: Path) -> None:
    (tmp_path / "partition-0").mkdir()
    (tmp_path / "partition-0" / "000012.sst").touch()
    place = find_place(tmp_path)
    assert place.tables == 1
    assert 0 < place.free <= place.size


@pytest.mark.parametrize(
    ("limits", "tables", "outcome"),
    [
        ((1_024, 10_000), 0, "ok"),
        ((1_024, 9_999), 0, "warn"),
        ((1_024, 10_000), 513, "warn"),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 513, "ok"),
    ],
)
def test_open_files(limits: tuple[int, int], tables: int, outcome: str) -> None:
    assert judge_open_files(limits, 10_000, [disk(50, tables=tables)]).outcome == outcome


GOOD, ODD = ok("a", "fine"), warn("b", "odd", "look")
BLIND, BAD = unknown("c", "blind", "open"), fail("d", "bad", "mend")


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ([GOOD], 0, "1 ok"),
        ([GOOD, ODD], 0, "1 warn, 1 ok"),
        ([BLIND, ODD, GOOD], 2, "1 unknown, 1 warn, 1 ok"),
        ([BLIND, BAD, GOOD, BAD], 1, "2 fail, 1 unknown, 1 ok"),
    ],
)
def test_exit_code_is_that_of_the_worst(findings: list[Finding], code: int, summary: str) -> None:
    report = Report(findings)
    assert (report.exit_code, report.summary) == (code, summary)


def test_a_table_has_the_way_out_beneath_the_fact() -> None:
    report = Report([ok("topics", "all exist"), fail("disk", "word " * 12 + "end", "make room")])
    assert list(report.lines(70, colored=False)) == [
        "ok       topics  all exist",
        "fail     disk    word word word word word word word word word word",
        "                 word word end",
        "                 -> make room",
    ]
    assert next(Report([BAD]).lines(70, colored=True)) == "\x1b[31mfail\x1b[0m     d  bad"
    assert report.wire()["findings"][0] == {"check": "topics", "outcome": "ok", "fact": "all exist", "remedy": None}
