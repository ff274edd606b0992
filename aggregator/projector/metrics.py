"""What the projector tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

UP = Gauge("tally_projector_up", "1 while Kafka and Postgres answer the projector.")
EVENTS_UP = Gauge("tally_projector_events_up", "1 while Kafka and Postgres answer the copying of single events.")
LAG = Gauge(
    "tally_projector_lag_records",
    "Records that are not read yet: those of accepted-usage are events that can't be listed yet.",
    ["topic", "partition"],
)
BATCH_SECONDS = Histogram("tally_projector_batch_seconds", "From the begin of a transaction to its commit.")
ROWS = Counter("tally_projector_rows", "Rows written to Postgres.", ["table"])
SKIPPED = Counter(
    "tally_projector_skipped_records",
    "Records that could not be copied: each is for a person to look at, the log names it.",
    ["topic", "reason"],
)
LEDGER = Gauge(
    "tally_projector_ledger_records",
    "The ledger as it is in Postgres: records of usage-events by verdict.",
    ["partition", "verdict"],
)
