"""What was used, and what it comes to: from Postgres, and live from Prometheus."""

from typing import Final

from aggregator.sql import queries
from deploy.dashboards.dashboard import Dashboard, Row
from deploy.dashboards.panel import Query, days, graph, number, table
from deploy.dashboards.promql import rate

_SQL: Final = queries(__package__)

_NOW: Final = Row(
    "Now",
    (
        number(
            "Events a second",
            "Usage events that are counted, a second.",
            "cps",
            Query(rate("tally_accepted_events_total"), "events"),
        ),
        number(
            "Rejected",
            "Share of all records with a verdict that is rejected, and so not billed.",
            "percentunit",
            Query(f"{rate('tally_rejected_events_total')} / {rate('tally_received_records_total')}", "rejected"),
        ),
        number(
            "Invoices in this time",
            "Invoices that the closer has written in the time that is shown.",
            "none",
            Query("sum(increase(tally_closer_invoices_total[$__range]))", "invoices"),
        ),
        graph(
            "Events a second over time",
            "Usage events that are counted, a second.",
            "cps",
            Query(rate("tally_accepted_events_total"), "events"),
            width=12,
        ),
    ),
)

_REVENUE: Final = Row(
    "Revenue",
    (
        table(
            "Invoiced",
            "Invoices issued in the time that is shown, exactly, and never summed over currencies. Credits are invoices"
            " of a negative amount, and included.",
            _SQL["invoiced"],
        ),
        days(
            "Invoiced a day",
            "By currency and the day of issue in UTC, rounded by Grafana. Drafts and void invoices are left out.",
            "none",
            _SQL["invoiced_by_day"],
        ),
        table(
            "Invoices by status",
            "CLOSER: written at the end of a period; MANUAL: by a caller.",
            _SQL["invoices_by_status"],
        ),
        table("By service", "The fifty services that were invoiced most.", _SQL["invoiced_by_service"]),
        table("By subscription", "The fifty subscriptions that were invoiced most.", _SQL["invoiced_by_subscription"]),
        table("By meter", "What usage was invoiced for: the lines of the invoices.", _SQL["invoiced_by_meter"]),
        table("Newest invoices", "With the exact amount.", _SQL["newest_invoices"]),
        table(
            "Adjustments",
            "Usage and voids after the close of a period; a negative amount is a credit.",
            _SQL["adjustments"],
        ),
        table(
            "Past their due date",
            "Open invoices, at whatever time they were issued.",
            _SQL["overdue_invoices"],
            width=24,
        ),
    ),
)

_USAGE: Final = Row(
    "Usage",
    (
        days(
            "Events a day",
            "Counted usage events by the day in UTC on which they occurred: the ten busiest meters.",
            "none",
            _SQL["events_by_day"],
        ),
        days("Users a day", "Different users with usage, by service.", "none", _SQL["subscribers_by_day"]),
        table("Usage by meter", "Of the time that is shown, by when it occurred.", _SQL["usage_by_meter"]),
        table("Open periods", "What is not invoiced yet: the fifty busiest running totals.", _SQL["open_periods"]),
        days("Not counted a day", "Duplicates and rejected records, by the reason.", "none", _SQL["rejected_by_day"]),
        table(
            "Newest that were not counted", "GET /api/v1/rejected-events has their bytes, too.", _SQL["newest_rejected"]
        ),
        table(
            "Ledger",
            "Every record of usage-events has one verdict: without_verdict is always 0.",
            _SQL["ledger"],
            width=24,
        ),
    ),
)

REVENUE: Final = Dashboard(
    uid="tally-revenue",
    title="Tally: usage and revenue",
    description="What was used and what was invoiced. Amounts in tables are exact; graphs are rounded.",
    since="now-30d",
    refresh="1m",
    rows=(_NOW, _REVENUE, _USAGE),
)
