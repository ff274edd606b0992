"""What was forwarded, beside what arrived: every event once, in the right partition, as it was.

Each worker writes into the `usage-forwarded` of all partitions, so this is compared over all of them, when each has
been recounted. What is on its way (the ends of that topic are newer than the positions of the sources) is left out.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from aggregator.audit.places import id_of, place_of
from aggregator.audit.recount import PartitionResult, Task
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import execute_all, open_scratch, queries
from schemas.topics import Topic

_SQL = queries("forwarding.sql")


def compare_forwarded(scratch: Path, recounted: Iterable[tuple[Task, PartitionResult]]) -> Findings:
    """Compare what all partitions sent and what arrived in them."""
    findings = Findings()
    with open_scratch(str(scratch / "forwarding.sqlite")) as database:
        execute_all(database, _SQL["tables"])
        database.execute("COMMIT")  # a database can't be attached within a transaction
        for task, result in recounted:
            _gather(database, task, result)
        execute_all(database, _SQL["indexes"])
        database.execute("BEGIN")
        findings.compare(Check.FORWARDING, database.execute(_SQL["sent_count"]).fetchone()[0])
        _report(database, findings)
    return findings


def _gather(database: sqlite3.Connection, task: Task, result: PartitionResult) -> None:
    database.execute("ATTACH ? AS one", (str(task.forwarding_file),))
    database.execute(_SQL["gather_sent"])
    database.execute(_SQL["gather_arrived"], (task.partition,))
    decided_to = place_of(task.partition, result.positions[Topic.USAGE_EVENTS])
    database.execute(_SQL["put_position"], (task.partition, decided_to))
    database.execute("DETACH one")


def _report(database: sqlite3.Connection, findings: Findings) -> None:
    for place, home in database.execute(_SQL["lost"]):
        what = f"The event {id_of(place)} was to be forwarded, and did not arrive."
        findings.disagree(Check.FORWARDING, what, partition=home, id=id_of(place))
    for place, home, times in database.execute(_SQL["repeated"]):
        what = f"The event {id_of(place)} arrived more than once."
        findings.disagree(Check.FORWARDING, what, partition=home, id=id_of(place), expected=1, found=times)
    for place, partition, seen, is_sent, home, is_same in database.execute(_SQL["different"]):
        if not is_sent:
            what = f"The event {id_of(place)} arrived, and is none that was to be forwarded."
        elif home != partition:
            what = f"The event {id_of(place)} arrived in another partition than its own."
        else:
            what = f"The event {id_of(place)} arrived with another key, value, headers or time."
        expected = {"partition": home} if is_sent else None
        place_ = {"partition": partition, "offset": seen, "id": id_of(place)}
        findings.disagree(Check.FORWARDING, what, expected=expected, found=bool(is_same), **place_)
