"""What the gateway tells Prometheus. Labels are routes, methods, statuses, and closed sets of outcomes and limits:
nothing that a caller can make up.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

READY = Gauge("tally_gateway_ready", "1 while /health/ready says so, looked at every 5 s.")
REQUESTS = Counter(
    "tally_gateway_requests",
    "Requests by what they were answered; status none: the caller was gone before.",
    ["method", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "tally_gateway_request_seconds", "Time from a request's headers to its answer.", ["route"], buckets=_SECONDS
)
REQUESTS_IN_FLIGHT = Gauge("tally_gateway_requests_in_flight", "Requests that are being answered.")
CONNECTIONS = Gauge("tally_gateway_connections", "Open connections of callers, see TALLY_CONNECTIONS.")
LIMITED = Counter(
    "tally_gateway_limited",
    "Requests and connections refused because a limit was reached: requests_per_second of a key, connections, or"
    " headers_seconds (too slow).",
    ["limit"],
)
USAGE_EVENTS = Counter(
    "tally_gateway_usage_events",
    "Usage events by what the gateway answered: recorded, pending, or the code of the refusal.",
    ["outcome"],
)
EVENTS_IN_FLIGHT = Gauge(
    "tally_gateway_usage_events_in_flight",
    "Usage events that wait for Kafka's acknowledgement, see TALLY_EVENTS_WAITING.",
)
VERDICTS_AWAITED = Gauge("tally_gateway_verdicts_awaited", "Usage events whose callers wait for the verdict.")
VERDICT_WAIT_SECONDS = Histogram(
    "tally_gateway_verdict_wait_seconds",
    "How long a request waited for its verdicts after Kafka had acknowledged its events, until it gave up at the most.",
    buckets=(*_SECONDS, 30),
)
OUTBOX_BACKLOG = Gauge("tally_catalog_outbox_backlog", "Catalog changes in Postgres that are not in the topic yet.")
OUTBOX_AGE = Gauge("tally_catalog_outbox_age_seconds", "Age of the oldest of them; 0 where there is none.")
OUTBOX_FAILURES = Counter(
    "tally_catalog_outbox_failures", "Attempts to publish catalog changes that failed and are made again."
)
