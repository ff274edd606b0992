"""The recount of one subscription: the audit's rooms, with the records of nobody else in them.

Its events may stand in any partition of `usage-events`: whoever produces there may choose another than the right one,
and the worker of that one forwards them. So all partitions are read for what was to be forwarded, and the one in which
the subscription is at home for all that charges it.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aggregator.audit.billing import Billing
from aggregator.audit.catalog import Catalog, Subscription
from aggregator.audit.closed import ClosedPeriods
from aggregator.audit.copied import CopiedRecords, CopiedTo
from aggregator.audit.copies import Copies, Row
from aggregator.audit.corrections import settle_corrections
from aggregator.audit.counting import Counted, count
from aggregator.audit.evidence import AuditImpossible, Log, Record
from aggregator.audit.invoiced import InvoicedPeriods
from aggregator.audit.invoices import InvoiceComparison
from aggregator.audit.places import place_of_id
from aggregator.audit.positions import Chain, follow
from aggregator.audit.recount import CATALOG_FILE, COPIES_FILE, PartitionResult, Task, keep_forwarded
from aggregator.audit.recounted import PeriodRecount
from aggregator.audit.report import Disagreement, Findings
from aggregator.audit.scratch import execute_all, open_scratch, queries
from aggregator.audit.selection import Selection
from aggregator.audit.settling import Comparison, kept_since, settle_keys
from aggregator.audit.sources import SourceReader, Sources
from aggregator.audit.times import own_time
from aggregator.audit.totals import read_totals
from aggregator.audit.verdicts import VerdictReader
from schemas.topics import Topic

_SQL = queries("partition.sql")


@dataclass(slots=True)
class HomeResult(PartitionResult):
    """What the recount of a subscription found where it is at home. `disagreements` are those of no known period."""

    service_id: str = ""
    user_id: str = ""
    periods: list[PeriodRecount] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)


def recount_elsewhere(task: Task, log: Log, subscription_id: str) -> PartitionResult:
    """In a partition where the subscription is not at home: note what its worker had to forward."""
    catalog = Catalog(str(task.scratch / CATALOG_FILE))
    with open_scratch(str(task.scratch_file)) as database:
        chain, _ = _read_sources(task, log, catalog, database, Selection(subscription_id))
    catalog.close()
    keep_forwarded(task)
    return PartitionResult(task.partition, chain.positions)


def recount_at_home(task: Task, log: Log, subscription_id: str, invoices: Sequence[Row], at: int | None) -> HomeResult:
    """Recount the subscription's period that holds a moment (ms), or all of them. `invoices` are its rows in Postgres.
    Raises AuditImpossible where the catalog does not know it."""
    catalog = Catalog(str(task.scratch / CATALOG_FILE))
    copies = Copies(str(task.scratch / COPIES_FILE))
    try:
        subscription = catalog.subscription(subscription_id)
        if subscription is None:
            raise AuditImpossible(
                f"The catalog has no subscription {subscription_id!r}: look for its id, which is case-sensitive, in GET"
                " /api/v1/subscriptions."
            )
        recount = _SubscriptionRecount(task, log, catalog, copies, subscription)
        return recount.run(invoices, at)
    finally:
        catalog.close()
        copies.close()


def _read_sources(
    task: Task, log: Log, catalog: Catalog, database: sqlite3.Connection, only: Selection
) -> tuple[Chain, Sources]:
    ends = task.cut.ends
    positions = log.read(Topic.AGGREGATOR_POSITIONS, task.partition, ends[Topic.AGGREGATOR_POSITIONS])
    chain = follow(positions, 0, task.partition, task.partitions, Findings())  # the chain is everybody's: tally audit
    execute_all(database, _SQL["tables"])
    reader = SourceReader(log, task.partition, task.partitions, catalog, database, only)
    return chain, reader.read(chain.positions, ends[Topic.USAGE_FORWARDED])


class _SubscriptionRecount:
    def __init__(self, task: Task, log: Log, catalog: Catalog, copies: Copies, subscription: Subscription) -> None:
        self._task = task
        self._log = log
        self._catalog = catalog
        self._copies = copies
        self._subscription = subscription
        self._only = Selection(subscription.id)
        self._findings = Findings()
        self._starts: dict[str, int] = {}
        """Of the events of which something is found: the starts of their periods, by the ids of the events."""

    def run(self, invoices: Sequence[Row], at: int | None) -> HomeResult:
        task, findings = self._task, self._findings
        closed = ClosedPeriods(task.partition, findings)
        closed.read(self._keyed(Topic.CLOSED_PERIODS))
        with open_scratch(str(task.scratch_file)) as database:
            chain, sources = _read_sources(task, self._log, self._catalog, database, self._only)
            counted = self._count(database, sources, closed)
        keep_forwarded(task)
        charged = Billing(closed, counted, self._catalog, task.partitions, findings).run()
        passed = task.copied.get(("closer", Topic.CLOSED_PERIODS), 0)
        InvoiceComparison(task.partition, self._copies, passed, findings).run(charged.values())
        states = read_totals(self._keyed(Topic.USAGE_TOTALS), 0, task.partition, Findings()).states
        invoiced = InvoicedPeriods(self._subscription, counted, charged, states, self._copies, passed)
        periods = invoiced.run(invoices, at)
        return HomeResult(
            task.partition,
            chain.positions,
            service_id=self._subscription.document["serviceId"],
            user_id=self._subscription.document["userId"],
            periods=periods,
            disagreements=self._assign(periods, at),
        )

    def _keyed(self, topic: Topic) -> Iterator[Record]:
        return self._only.keyed(self._log.read(topic, self._task.partition, self._task.cut.ends[topic]))

    def _count(self, database: sqlite3.Connection, sources: Sources, closed: ClosedPeriods) -> Counted:
        """As the audit does for all: what each event comes to by the rules, and the sums of those that count."""
        ends, findings, partition = self._task.cut.ends, self._findings, self._task.partition
        with CopiedRecords(database, CopiedTo(None, None)) as nothing:
            VerdictReader(self._log, partition, database, nothing, findings, self._only).read(
                ends[Topic.ACCEPTED_USAGE], ends[Topic.REJECTED_USAGE]
            )
        since = kept_since(database, self._log.beginning(Topic.REJECTED_USAGE, partition))
        settle_keys(database, since)
        for _ in Comparison(partition, database, findings).run(since):
            pass  # an event that counts is recorded otherwise than it arrived: that charges nobody
        settle_corrections(database, partition, findings, since)
        counted = count(database, sources.totals, closed.charged_to(), partition, findings)
        totals = list(sources.totals)
        for event_id in {one.id for one in findings.kept if one.id is not None}:
            for (number,) in database.execute(_SQL["total_of"], (place_of_id(event_id),)):
                self._starts[event_id] = totals[number].start
        return counted

    def _assign(self, periods: list[PeriodRecount], at: int | None) -> list[Disagreement]:
        """Give each period its disagreements. Returns those of which the period is not known."""
        by_start = {period.start: period for period in periods}
        left = []
        for disagreement in self._findings.kept:
            start = self._start_of(disagreement)
            if start in by_start:
                by_start[start].disagreements.append(disagreement)
            elif start is None or at is None:
                left.append(disagreement)
        return left

    def _start_of(self, disagreement: Disagreement) -> int | None:
        if isinstance(disagreement.key, list):
            return self._subscription.calendar.period_at(own_time(disagreement.key[1])).start
        return None if disagreement.id is None else self._starts.get(disagreement.id)
