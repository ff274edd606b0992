"""What a worker tells Prometheus. Labels are partitions, sources and closed sets of reasons, so the series are bounded.

Verdicts are counted once a batch. What a look finds out about a partition is shown about every second: see watch.
"""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from schemas.position import Counts
from schemas.rejection import Reason
from schemas.topics import Topic

RECEIVED = Counter(
    "tally_received_records",
    "Records of usage-events and the other sources with a verdict.",
    ["partition", "topic"],
)
ACCEPTED = Counter("tally_accepted_events", "Usage events counted.", ["partition"])
DUPLICATE = Counter("tally_duplicate_events", "Usage events refused because their key was used before.", ["partition"])
REJECTED = Counter(
    "tally_rejected_events",
    "Usage events and corrections refused for any other reason. Those of processing_failed are a defect of Tally.",
    ["partition", "reason"],
)
FORWARDED = Counter(
    "tally_forwarded_events",
    "Usage events sent on to their own partition. Many: a producer uses another partitioner, and they go twice.",
    ["partition"],
)
VOIDED = Counter("tally_voided_events", "Usage events taken back by corrections.", ["partition"])
REPLIES = Counter(
    "tally_replies",
    "Verdicts told to gateways that wait for them, and those that got lost: each of these is a 202 and no 201.",
    ["outcome"],
)
RATES = Counter(
    "tally_rates",
    "Records of usage-rates that were written, and those that got lost: live rates lack them.",
    ["outcome"],
)
LEDGER = Gauge("tally_ledger_records", "The ledger: records of all sources by verdict.", ["partition", "verdict"])

LAG = Gauge("tally_lag_records", "Records of all sources that are not decided yet: watch it grow.", ["partition"])
POSITION = Gauge("tally_position_offset", "The next offset of usage-events to decide.", ["partition"])
POSITION_AGE = Gauge(
    "tally_position_age_seconds",
    "How old the oldest record that is not decided yet can be at the most; 0 where all are.",
    ["partition"],
)

BATCH_RECORDS = Histogram(
    "tally_batch_records", "Records in a batch.", buckets=(1, 10, 100, 500, 1_000, 2_000, 4_000, 8_000)
)
TRANSACTION_SECONDS = Histogram("tally_transaction_seconds", "From the begin of a transaction to its commit.")
TRANSACTION_BYTES = Histogram(
    "tally_transaction_bytes",
    "What a transaction writes to Kafka, before compression.",
    buckets=tuple(1 << power for power in range(10, 25, 2)),
)

OPEN = Gauge("tally_partition_open", "1 for a partition that this worker works on, 0 while it opens it.", ["partition"])
FENCES = Counter(
    "tally_fences", "Partitions taken over: from then on, whoever had it before can commit nothing.", ["partition"]
)
RESTORED = Counter("tally_restored_records", "Changelog records read to bring the state up.", ["partition"])
RESTORE_SECONDS = Histogram(
    "tally_restore_seconds",
    "How long it took to bring a partition's state up.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800),
)

KEYS = Gauge("tally_rocksdb_keys", "Entries of a partition's store, as RocksDB estimates them.", ["partition"])
MEMTABLE_BYTES = Gauge("tally_rocksdb_memtable_bytes", "Memory of a store's unwritten tables.", ["partition"])
TABLE_READER_BYTES = Gauge(
    "tally_rocksdb_table_reader_bytes", "Memory of a store's filters and indexes outside of the cache.", ["partition"]
)
DISK_BYTES = Gauge("tally_rocksdb_disk_bytes", "Disk space of a partition's store.", ["partition"])
CACHE_BYTES = Gauge(
    "tally_rocksdb_cache_bytes", "Memory of the block cache of all stores, the unwritten tables of all among it."
)

CLOSED = Counter("tally_closed_periods", "Billing periods closed, adjustments among them.", ["partition"])
CLOSING_BACKLOG = Gauge(
    "tally_closing_backlog_periods",
    "Billing periods whose time to be looked at has come, counted up to 1000; all but a few of them close then.",
    ["partition"],
)
CLOSING_OVERDUE = Gauge(
    "tally_closing_overdue_seconds", "For how long the first of them has waited; 0 where there is none.", ["partition"]
)

_OF_A_PARTITION = (
    *(LEDGER, LAG, POSITION, POSITION_AGE, OPEN, KEYS, MEMTABLE_BYTES, TABLE_READER_BYTES, DISK_BYTES),
    *(CLOSING_BACKLOG, CLOSING_OVERDUE),
)


def batch(partition: int, source: Topic, counts: Counts, reasons: Mapping[Reason, int]) -> None:
    """Count the verdicts of a committed batch, and the reasons of those that were refused."""
    records = sum(counts)
    BATCH_RECORDS.observe(records)
    RECEIVED.labels(partition, source.value).inc(records)
    if source is Topic.USAGE_CORRECTIONS:
        VOIDED.labels(partition).inc(counts.accepted)
    else:
        ACCEPTED.labels(partition).inc(counts.accepted)
        DUPLICATE.labels(partition).inc(counts.duplicate)
        FORWARDED.labels(partition).inc(counts.forwarded)
    for reason, count in reasons.items():
        if reason is not Reason.DUPLICATE_EVENT_KEY:
            REJECTED.labels(partition, reason.value).inc(count)


def ledger(partition: int, counts: dict[str, int]) -> None:
    """Show the ledger as committed."""
    for verdict, count in counts.items():
        LEDGER.labels(partition, verdict).set(count)


def fenced(partition: int) -> None:
    """Count the fence. What follows is the restore."""
    FENCES.labels(partition).inc()
    OPEN.labels(partition).set(0)


def restored(partition: int, records: int, seconds: float) -> None:
    """Count the restore."""
    RESTORED.labels(partition).inc(records)
    RESTORE_SECONDS.observe(seconds)


def opened(partition: int, counts: dict[str, int]) -> None:
    """Show that work begins, and with which ledger."""
    OPEN.labels(partition).set(1)
    ledger(partition, counts)


def forget(partition: int) -> None:
    """Another worker shows the partition now."""
    for gauge in _OF_A_PARTITION:
        gauge.remove_by_labels({"partition": str(partition)})
