"""The rows of `rejected_usage_events` beside the records that they were copied from, over all partitions: a forwarded
event is refused in its own partition, and known by the place at which it first arrived.

`rejected-usage` is kept for 35 days, and the rows for longer: those of records that may be deleted can't be compared.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from aggregator.audit.recount import COPIES_FILE, PartitionResult, Task
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import execute_all, open_scratch, queries

_SQL = queries("rejections.sql")


def compare_rejections(
    scratch: Path, tasks: Sequence[Task], results: Sequence[PartitionResult], findings: Findings
) -> None:
    """Each rejected record that was copied has its row, each row its record, and they are equal. Nothing is compared
    where the projector has never read the topic."""
    if any(task.copied_to.rejected is None for task in tasks):
        return
    with open_scratch(str(scratch / "rejections.sqlite")) as database:
        execute_all(database, _SQL["tables"])
        database.execute("COMMIT")  # a database can't be attached within a transaction
        for task in tasks:
            database.execute("ATTACH ? AS one", (str(task.forwarding_file),))
            database.execute(_SQL["gather"], (task.partition,))
            database.execute("DETACH one")
        database.execute("ATTACH ? AS copies", (str(scratch / COPIES_FILE),))
        database.execute("BEGIN")
        _report(database, max(result.rejected_since for result in results), findings)


def _report(database: sqlite3.Connection, since: int, findings: Findings) -> None:
    findings.compare(Check.REJECTED_COPIES, database.execute(_SQL["count"]).fetchone()[0])
    for event_id, partition, seen, has_row in database.execute(_SQL["different"]):
        what = "A row of rejected_usage_events is not the record that it was copied from."
        if not has_row:
            what = "A rejected record has no row in rejected_usage_events."
        findings.disagree(Check.REJECTED_COPIES, what, partition=partition, offset=seen, id=event_id)
    for (event_id,) in database.execute(_SQL["without_record"], (since,)):
        what = "A row of rejected_usage_events has no record that was copied."
        findings.disagree(Check.REJECTED_COPIES, what, id=event_id)
