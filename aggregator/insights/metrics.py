"""What the insights tell Prometheus. Services and meters are no labels: there may be any number of them, and they are
at /rates instead."""

from prometheus_client import Counter, Gauge

from schemas.alert import AlertStatus

RATES_UP = Gauge("tally_insights_rates_up", "1 while Kafka answers the live rates.")
RATES_LAG = Gauge("tally_insights_lag_records", "Records of usage-rates that are not read yet.", ["partition"])
RATES_SKIPPED = Counter("tally_insights_skipped_records", "Records of usage-rates that could not be read.")
METERS = Gauge("tally_insights_meters", "Meters that had usage in the last quarter of an hour, as far as kept apart.")
EVENTS = Gauge("tally_insights_events_per_second", "Accepted events a second, over the last minute, of all services.")
ALERTS = Counter("tally_insights_alerts", "Alerts that have begun, and those resolved.", ["status"])
ALERTS_FIRING = Gauge("tally_insights_alerts_firing", "Alerts that have begun and are not resolved.")
WEBHOOKS_UP = Gauge("tally_webhooks_up", "1 while Postgres answers the sender of webhooks.")
ALERT_WEBHOOKS_UP = Gauge("tally_alert_webhooks_up", "1 while Kafka and Postgres answer what makes webhooks of alerts.")
ATTEMPTS = Counter("tally_webhook_attempts", "Attempts to deliver a webhook, by outcome.", ["outcome"])
WAITING = Gauge("tally_webhooks_waiting", "Webhooks that are to be delivered.")
OLDEST = Gauge("tally_webhooks_oldest_seconds", "Age of the oldest webhook that is to be delivered.")
PARKED = Gauge("tally_webhooks_parked", "Webhooks that were given up and wait for a person.")
for status in AlertStatus:
    ALERTS.labels(status.value.lower())
for outcome in ("delivered", "failed", "parked"):
    ATTEMPTS.labels(outcome)
