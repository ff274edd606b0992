"""What a worker tells Prometheus. Labels are partitions and the closed set of reasons, so the series are bounded."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from aggregator.rules.verdicts import Rejected
from schemas.position import Counts
from schemas.topics import Topic

ACCEPTED = Counter("tally_accepted_events", "Usage events counted.", ["partition"])
DUPLICATE = Counter("tally_duplicate_events", "Usage events refused because their key was used before.", ["partition"])
REJECTED = Counter(
    "tally_rejected_events", "Usage events and corrections refused, duplicates too.", ["partition", "reason"]
)
FORWARDED = Counter("tally_forwarded_events", "Usage events sent on to their own partition.", ["partition"])
VOIDED = Counter("tally_voided_events", "Usage events taken back.", ["partition"])
RESTORED = Counter("tally_restored_records", "Changelog records read to bring the state up.", ["partition"])
CLOSED = Counter("tally_closed_periods", "Billing periods closed, adjustments among them.", ["partition"])
LEDGER = Gauge("tally_ledger_records", "The ledger: records of all sources by verdict.", ["partition", "verdict"])
LAG = Gauge("tally_lag_records", "Records of all sources that are not decided yet.", ["partition"])
POSITION = Gauge("tally_position_offset", "The next offset of usage-events to decide.", ["partition"])
REPLIES = Counter("tally_replies", "Verdicts told to those who wait for them, and those that got lost.", ["outcome"])
BATCH_RECORDS = Histogram(
    "tally_batch_records", "Records in a batch.", buckets=(1, 10, 100, 500, 1_000, 2_000, 4_000, 8_000)
)
TRANSACTION_SECONDS = Histogram("tally_transaction_seconds", "From the begin of a transaction to its commit.")


def batch(partition: int, source: Topic, counts: Counts, rejected: Iterable[Rejected]) -> None:
    """Count the verdicts of a committed batch."""
    BATCH_RECORDS.observe(sum(counts))
    if source is Topic.USAGE_CORRECTIONS:
        VOIDED.labels(partition).inc(counts.accepted)
    else:
        ACCEPTED.labels(partition).inc(counts.accepted)
        DUPLICATE.labels(partition).inc(counts.duplicate)
        FORWARDED.labels(partition).inc(counts.forwarded)
    for _, rejection in rejected:
        REJECTED.labels(partition, rejection.reason.value).inc()


def ledger(partition: int, counts: dict[str, int]) -> None:
    """Show the ledger as committed."""
    for verdict, count in counts.items():
        LEDGER.labels(partition, verdict).set(count)


def lag(partition: int, records: int, position: int) -> None:
    """Show how far the partition is behind the ends of its sources, and where it is in usage-events."""
    POSITION.labels(partition).set(position)
    LAG.labels(partition).set(records)


def forget(partition: int) -> None:
    """Another worker shows the partition now."""
    POSITION.remove_by_labels({"partition": str(partition)})
    LAG.remove_by_labels({"partition": str(partition)})
    LEDGER.remove_by_labels({"partition": str(partition)})
