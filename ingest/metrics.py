"""What the gateway measures."""

from prometheus_client import Counter, Gauge, Histogram

USAGE_EVENTS = Counter(
    "tally_gateway_usage_events",
    "Usage events by what the gateway answered: published, or the code of the refusal.",
    ["outcome"],
)
REQUEST_SECONDS = Histogram(
    "tally_gateway_request_seconds",
    "Time from a request's headers to its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS_IN_FLIGHT = Gauge(
    "tally_gateway_usage_events_in_flight",
    "Usage events that wait for Kafka's acknowledgement.",
)
VERDICTS_AWAITED = Gauge(
    "tally_gateway_verdicts_awaited",
    "Usage events whose callers wait for the verdict.",
)
LIMITED = Counter(
    "tally_gateway_limited",
    "Requests and connections that were refused because a limit was reached.",
    ["limit"],
)
OUTBOX_BACKLOG = Gauge(
    "tally_catalog_outbox_backlog",
    "Catalog changes in Postgres that are not in the topic yet.",
)
OUTBOX_FAILURES = Counter(
    "tally_catalog_outbox_failures",
    "Attempts to publish catalog changes that failed and are made again.",
)
