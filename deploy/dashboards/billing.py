"""What follows from what was decided: invoices, copies, webhooks; and the processes themselves."""

from typing import Final

from deploy.dashboards.dashboard import Row
from deploy.dashboards.panel import Query, graph
from deploy.dashboards.promql import PARTS, by_partition, quantiles, rate

INVOICES: Final = Row(
    "It is invoiced",
    (
        by_partition(
            "Periods that are due",
            "Billing periods whose time to be looked at has come, counted up to 1000 for each partition.",
            "short",
            "tally_closing_backlog_periods",
        ),
        by_partition(
            "Closing overdue", "For how long the first of them has waited.", "s", "tally_closing_overdue_seconds"
        ),
        graph(
            "Closed and invoiced",
            "Periods that workers closed, and invoices that the closer wrote. A flat plan and usage of 0 have invoices"
            " too; an adjustment of 0 has none.",
            "cps",
            Query(rate("tally_closed_periods_total"), "periods closed"),
            Query(rate("tally_closer_invoices_total"), "invoices written"),
        ),
        by_partition(
            "Closer: lag", "Records of closed-periods that have no invoice yet.", "short", "tally_closer_lag_records"
        ),
        graph(
            "Closer: time of a transaction",
            "From the begin of a transaction in Postgres to its commit.",
            "s",
            *quantiles("tally_closer_batch_seconds"),
        ),
        graph(
            "Held periods by reason",
            "docs/operations.md has what each reason means and what to do.",
            "none",
            Query("max by (reason) (tally_held_periods)", "{{reason}}"),
        ),
        graph(
            "Closer: lease",
            "Under which epoch each closer writes; 0: it waits. Each takeover raises it.",
            "none",
            Query("tally_closer_lease_epoch", "{{instance}}"),
        ),
        graph(
            "Catalog changes that wait",
            "Changes that are in Postgres, and that workers do not know yet.",
            "none",
            Query("max(tally_catalog_outbox_backlog)", "changes"),
        ),
        graph(
            "Catalog changes: age of the oldest",
            "For how long the oldest of them has waited.",
            "s",
            Query("max(tally_catalog_outbox_age_seconds)", "age"),
        ),
        graph(
            "Catalog changes: failures",
            "Attempts to publish them that failed, and are made again.",
            "cps",
            Query(rate("tally_catalog_outbox_failures_total"), "failures"),
        ),
    ),
)

COPIES: Final = Row(
    "It is shown, and told",
    (
        graph(
            "Projector: lag",
            "Records that are not in Postgres yet, by topic. Verdicts and invoices do not wait for it.",
            "short",
            Query("sum by (topic) (tally_projector_lag_records)", "{{topic}}"),
        ),
        graph(
            "Projector: rows",
            "Rows written to Postgres.",
            "wps",
            Query(rate("tally_projector_rows_total", "table"), "{{table}}"),
        ),
        graph(
            "Projector: time of a transaction",
            "From the begin of a transaction in Postgres to its commit.",
            "s",
            *quantiles("tally_projector_batch_seconds"),
        ),
        graph(
            "Projector: records skipped",
            "Records that could not be copied, since the projector started: each is for a person to look at.",
            "none",
            Query("sum by (topic, reason) (tally_projector_skipped_records_total)", "{{topic}} {{reason}}"),
        ),
        graph(
            "Ledger: Postgres behind",
            "Records of usage-events with a verdict that Postgres has not counted yet.",
            "short",
            Query(
                'sum(tally_ledger_records{verdict="received"})'
                ' - sum(tally_projector_ledger_records{verdict="received"})',
                "records",
            ),
        ),
        graph(
            "Live rates",
            "Accepted events a second over the last minute, as the insights have them: approximate.",
            "cps",
            Query("max(tally_insights_events_per_second)", "events"),
        ),
        graph(
            "Insights: lag",
            "Records of usage-rates that are not read yet.",
            "short",
            Query("sum(tally_insights_lag_records)", "records"),
        ),
        graph(
            "Webhooks",
            "To be delivered, and given up after the last attempt.",
            "none",
            Query("max(tally_webhooks_waiting)", "waiting"),
            Query("max(tally_webhooks_parked)", "given up"),
        ),
        graph(
            "Webhooks: age of the oldest",
            "Of those that are to be delivered.",
            "s",
            Query("max(tally_webhooks_oldest_seconds)", "age"),
        ),
        graph(
            "Webhooks: attempts",
            "Attempts to deliver a webhook by outcome; failed ones are made again.",
            "cps",
            Query(rate("tally_webhook_attempts_total", "outcome"), "{{outcome}}"),
        ),
    ),
)

PROCESSES: Final = Row(
    "Processes",
    (
        graph(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            Query(f"process_resident_memory_bytes{{{PARTS}}}", "{{job}} {{instance}}"),
        ),
        graph(
            "CPU",
            "Cores that each process uses. A worker and a gateway use one at the most.",
            "none",
            Query(f"rate(process_cpu_seconds_total{{{PARTS}}}[$__rate_interval])", "{{job}} {{instance}}"),
        ),
        graph(
            "Log lines",
            "By level. error and critical: something was lost, or halted.",
            "cps",
            Query(rate("tally_log_records_total", "level"), "{{level}}"),
        ),
    ),
)
