"""What a worker tells Prometheus. Labels are partitions and the closed set of reasons, so the series are bounded."""

from prometheus_client import Counter, Gauge, Histogram

from aggregator.rules.deciding import Decisions

ACCEPTED = Counter("tally_accepted_events", "Usage events counted.", ["partition"])
DUPLICATE = Counter("tally_duplicate_events", "Usage events refused because their key was used before.", ["partition"])
REJECTED = Counter("tally_rejected_events", "Usage events refused for another reason.", ["partition", "reason"])
RESTORED = Counter("tally_restored_records", "Changelog records read to bring the state up.", ["partition"])
CLOSED = Counter("tally_closed_periods", "Billing periods closed, adjustments among them.", ["partition"])
LEDGER = Gauge("tally_ledger_records", "The ledger: records of usage-events by verdict.", ["partition", "verdict"])
LAG = Gauge("tally_lag_records", "Records of usage-events that are not decided yet.", ["partition"])
POSITION = Gauge("tally_position_offset", "The next offset of usage-events to decide.", ["partition"])
BATCH_RECORDS = Histogram(
    "tally_batch_records", "Records in a batch.", buckets=(1, 10, 100, 500, 1_000, 2_000, 4_000, 8_000)
)
TRANSACTION_SECONDS = Histogram("tally_transaction_seconds", "From the begin of a transaction to its commit.")


def batch(partition: int, records: int, decisions: Decisions) -> None:
    """Count the verdicts of a committed batch."""
    BATCH_RECORDS.observe(records)
    ACCEPTED.labels(partition).inc(len(decisions.accepted))
    DUPLICATE.labels(partition).inc(decisions.duplicates)
    for rejected in decisions.rejected:
        REJECTED.labels(partition, rejected.rejection.reason.value).inc()


def ledger(partition: int, counts: dict[str, int]) -> None:
    """Show the ledger as committed."""
    for verdict, count in counts.items():
        LEDGER.labels(partition, verdict).set(count)


def lag(partition: int, end: int | None, position: int) -> None:
    """Show how far the partition is behind the end of its source."""
    POSITION.labels(partition).set(position)
    if end is not None:
        LAG.labels(partition).set(max(0, end - position))


def forget(partition: int) -> None:
    """Another worker shows the partition now."""
    POSITION.remove_by_labels({"partition": str(partition)})
    LAG.remove_by_labels({"partition": str(partition)})
    LEDGER.remove_by_labels({"partition": str(partition)})
