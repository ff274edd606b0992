"""The recount of one partition, from its sources to its invoices."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aggregator.audit.billing import Billing
from aggregator.audit.catalog import Catalog
from aggregator.audit.closed import ClosedPeriods
from aggregator.audit.copied import CopiedRecords, CopiedTo
from aggregator.audit.copied_events import compare_events
from aggregator.audit.copies import Copies
from aggregator.audit.corrections import settle_corrections
from aggregator.audit.counting import Counted, count
from aggregator.audit.events import Event, event_of
from aggregator.audit.evidence import AuditImpossible, Log, PartitionCut, Record
from aggregator.audit.invoices import InvoiceComparison
from aggregator.audit.judging import judge
from aggregator.audit.ledger import compare_ledger, counted_ledger
from aggregator.audit.places import id_of, partition_and_offset
from aggregator.audit.positions import Chain, compare_last_records, follow
from aggregator.audit.projection import ProjectionComparison
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import execute_all, open_scratch, queries
from aggregator.audit.settling import Comparison, Verdict, kept_since, settle_keys
from aggregator.audit.sources import FORWARDED, SourceReader, recorded_fields
from aggregator.audit.totals import TotalsComparison, read_totals
from aggregator.audit.verdicts import VerdictReader, fields_of
from schemas.topics import Topic

CATALOG_FILE = "catalog.sqlite"
COPIES_FILE = "postgres.sqlite"

_SQL = queries("partition.sql")


@dataclass(slots=True, frozen=True)
class Task:
    """Which partition is to be recounted, and what is needed for it. `copied` are the offsets up to which Postgres had
    followed the partition's topics, by consumer and topic."""

    cut: PartitionCut
    partitions: int
    scratch: Path
    copied: dict[tuple[str, Topic], int]

    @property
    def partition(self) -> int:
        """Its number."""
        return self.cut.partition

    @property
    def copied_to(self) -> CopiedTo:
        """Up to where single events were copied."""
        return CopiedTo(*(self.copied.get(("projector", t)) for t in (Topic.ACCEPTED_USAGE, Topic.REJECTED_USAGE)))

    @property
    def scratch_file(self) -> Path:
        """Where its records are sorted."""
        return self.scratch / f"partition-{self.partition}.sqlite"

    @property
    def forwarding_file(self) -> Path:
        """What is left of that: what was sent to other partitions, and what arrived from them."""
        return self.scratch / f"forwarding-{self.partition}.sqlite"


@dataclass(slots=True)
class PartitionResult:
    """What the recount of a partition found."""

    partition: int
    positions: dict[str, int]
    findings: Findings = field(default_factory=Findings)
    counts: dict[str, int] = field(default_factory=dict)
    rejected_since: int = 0
    """See settling.kept_since()."""


def recount(task: Task, log: Log) -> PartitionResult:
    """Recount one partition."""
    catalog = Catalog(str(task.scratch / CATALOG_FILE))
    copies = Copies(str(task.scratch / COPIES_FILE))
    try:
        result = _Recount(task, log, catalog, copies).run()
        keep_forwarded(task)
        return result
    finally:
        catalog.close()
        copies.close()


def keep_forwarded(task: Task) -> None:
    """Drop what was kept of a partition, but for what compare_forwarded() needs of all of them."""
    with open_scratch(str(task.forwarding_file)) as database:
        database.execute("COMMIT")  # a database can't be attached within a transaction
        database.execute("ATTACH ? AS partition", (str(task.scratch_file),))
        database.execute("BEGIN")
        execute_all(database, _SQL["keep_forwarded"])
    task.scratch_file.unlink()


class _Recount:
    def __init__(self, task: Task, log: Log, catalog: Catalog, copies: Copies) -> None:
        self._task = task
        self._partition = task.partition
        self._log = log
        self._catalog = catalog
        self._copies = copies
        self._findings = Findings()
        self._rejected_since = 0

    def run(self) -> PartitionResult:
        """First the single events, in the scratch database; then what they come to, in memory."""
        chain = follow(
            self._read(Topic.AGGREGATOR_POSITIONS),
            self._copied("projector", Topic.AGGREGATOR_POSITIONS),
            *(self._partition, self._task.partitions, self._findings),
        )
        closed = ClosedPeriods(self._partition, self._findings)
        closed.read(self._read(Topic.CLOSED_PERIODS))
        with open_scratch(str(self._task.scratch_file)) as database:
            counted, counts = self._compare_events(database, chain, closed)
        compare_ledger(chain, counts, self._partition, self._findings)
        totals = self._compare_periods(counted, closed)
        ProjectionComparison(self._partition, self._copies, self._findings).compare_ledger(chain)
        sequences = sum(len(sequences) for sequences in closed.periods.values())
        counts |= {"totals": totals, "closedPeriods": sequences}
        return PartitionResult(self._partition, chain.positions, self._findings, counts, self._rejected_since)

    def _compare_events(
        self, database: sqlite3.Connection, chain: Chain, closed: ClosedPeriods
    ) -> tuple[Counted, dict[str, int]]:
        """Each record of the sources and its verdict. Returns their sums, and how many met each verdict."""
        ends, findings, partition = self._task.cut.ends, self._findings, self._partition
        execute_all(database, _SQL["tables"])
        reader = SourceReader(self._log, partition, self._task.partitions, self._catalog, database)
        sources = reader.read(chain.positions, ends[Topic.USAGE_FORWARDED])
        compare_last_records(chain, sources.last, partition, findings)
        with CopiedRecords(database, self._task.copied_to) as copied:
            VerdictReader(self._log, partition, database, copied, findings).read(
                ends[Topic.ACCEPTED_USAGE], ends[Topic.REJECTED_USAGE]
            )
        if self._task.copied_to.accepted is not None:
            compare_events(database, self._copies, partition, findings)
        since = self._rejected_since = kept_since(database, self._log.beginning(Topic.REJECTED_USAGE, partition))
        settle_keys(database, since)
        for verdict in Comparison(partition, database, findings).run(since):
            self._report_accepted(verdict)
        voids = settle_corrections(database, partition, findings, since)
        aborted = database.execute(_SQL["row_counts"]).fetchone()[-1]
        counts = counted_ledger(database, voids) | {"aborted": aborted}
        return count(database, sources.totals, closed.charged_to(), partition, findings), counts

    def _compare_periods(self, counted: Counted, closed: ClosedPeriods) -> int:
        """What the events come to: totals, closed periods, invoices, copies. Returns how many totals there are."""
        charged = Billing(closed, counted, self._catalog, self._task.partitions, self._findings).run()
        kept = read_totals(
            self._read(Topic.USAGE_TOTALS),
            self._copied("projector", Topic.USAGE_TOTALS),
            *(self._partition, self._findings),
        )
        TotalsComparison(self._partition, kept, counted, charged, self._catalog, self._findings).run()
        passed = self._copied("closer", Topic.CLOSED_PERIODS)
        InvoiceComparison(self._partition, self._copies, passed, self._findings).run(charged.values())
        projection = ProjectionComparison(self._partition, self._copies, self._findings)
        projection.compare_totals(kept)
        projection.compare_periods(kept)
        return len(kept.totals)

    def _read(self, topic: Topic) -> Iterator[Record]:
        return self._log.read(topic, self._partition, self._task.cut.ends[topic])

    def _copied(self, consumer: str, topic: Topic) -> int:
        return self._task.copied.get((consumer, topic), 0)

    def _report_accepted(self, verdict: Verdict) -> None:
        """What is wrong with the records of an accepted event: that of its acceptance, or that of its void."""
        for seen, version in (
            (verdict.accepted_seen, verdict.version),
            (verdict.voided_seen, verdict.voided_version),
        ):
            differences = {} if seen is None else self._differences(verdict, seen, version)
            if differences:
                self._findings.disagree(
                    Check.ACCEPTED,
                    f"What is recorded of the event {id_of(verdict.place)} does not follow from its record.",
                    partition=self._partition,
                    offset=seen,
                    id=id_of(verdict.place),
                    expected={name: expected for name, (expected, _) in differences.items()},
                    found={name: found for name, (_, found) in differences.items()},
                )

    def _differences(self, verdict: Verdict, seen: int, version: int | None) -> dict[str, tuple[Any, Any]]:
        """Where the record at an offset is not what it must be, by field: both records are read again."""
        if verdict.source == FORWARDED:
            source = self._record(Topic.USAGE_FORWARDED, self._partition, verdict.seen)
        else:
            source = self._record(Topic.USAGE_EVENTS, *partition_and_offset(verdict.place))
        event = event_of(source.value)
        assert isinstance(event, Event), "it is expected to be accepted"
        judgement = judge(event, verdict.at, self._catalog)
        expected = recorded_fields(event, verdict.place, verdict.at, judgement, event.fingerprint())
        found = fields_of(self._record(Topic.ACCEPTED_USAGE, self._partition, seen))
        fields = {name: (value, found[name]) for name, value in zip(found, expected, strict=True)}
        bounds = (verdict.version_min or 0, verdict.version_max or 0)
        if version is not None and not bounds[0] <= version <= bounds[1]:
            fields["catalogVersion"] = (f"{bounds[0]} to {bounds[1]}", version)
        return {name: (value, found_) for name, (value, found_) in fields.items() if value != found_}

    def _record(self, topic: Topic, partition: int, offset: int) -> Record:
        record = next(self._log.read(topic, partition, offset + 1, begin=offset), None)
        if record is None:
            raise AuditImpossible(
                f"The record at offset {offset} in partition {partition} of {topic} was there a moment ago, and is"
                " gone: it was compacted meanwhile; run the audit again."
            )
        return record
