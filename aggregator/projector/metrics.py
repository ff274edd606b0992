"""What the projector tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

UP = Gauge("tally_projector_up", "1 while Kafka and Postgres answer the projector.")
EVENTS_UP = Gauge("tally_projector_events_up", "1 while Kafka and Postgres answer the copying of single events.")
LAG = Gauge("tally_projector_lag_records", "Records that are not read yet.", ["topic", "partition"])
BATCH_SECONDS = Histogram("tally_projector_batch_seconds", "From the begin of a transaction to its commit.")
TOTALS = Counter("tally_projector_totals", "Rows of usage_totals and billing_periods written.")
USAGE_EVENTS = Counter("tally_projector_usage_events", "Rows of usage_events written.")
REJECTED_EVENTS = Counter("tally_projector_rejected_events", "Rows of rejected_usage_events written.")
SKIPPED = Counter("tally_projector_skipped_records", "Records that could not be copied.", ["topic", "reason"])
LEDGER = Gauge(
    "tally_projector_ledger_records", "The ledger as copied: records of usage-events.", ["partition", "verdict"]
)
