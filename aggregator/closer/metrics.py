"""What the closer tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

UP = Gauge("tally_closer_up", "1 while Kafka and Postgres answer the closer.")
EPOCH = Gauge("tally_closer_lease_epoch", "The epoch under which this closer writes; 0 while it waits for another.")
LAG = Gauge("tally_closer_lag_records", "Records of closed-periods that are not read yet.", ["partition"])
BATCH_SECONDS = Histogram("tally_closer_batch_seconds", "From the begin of a transaction to its commit.")
INVOICES = Counter("tally_closer_invoices", "Invoices written.")
HELD = Counter("tally_closer_held_periods", "Closed periods that have no invoice, see held_periods.", ["reason"])
