"""What the closer tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from aggregator.closer.assembly import HoldReason

UP = Gauge("tally_closer_up", "1 while Kafka and Postgres answer the closer.")
EPOCH = Gauge("tally_closer_lease_epoch", "The epoch under which this closer writes; 0 while it waits for the lease.")
LAG = Gauge("tally_closer_lag_records", "Records of closed-periods that are not read yet.", ["partition"])
BATCH_SECONDS = Histogram("tally_closer_batch_seconds", "From the begin of a transaction to its commit.")
INVOICES = Counter("tally_closer_invoices", "Invoices written.")
HELD = Counter(
    "tally_closer_held_periods", "Closed periods that this closer held instead of writing an invoice.", ["reason"]
)
HELD_NOW = Gauge(
    "tally_held_periods",
    "Rows of held_periods, as the closer that writes sees them: each is for a person to look at. DIVERGED: an invoice"
    " exists with other content.",
    ["reason"],
)
for reason in HoldReason:
    HELD.labels(reason.value)
