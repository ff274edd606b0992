"""Is Tally well, and where does usage wait? All from Prometheus."""

from typing import Final

from deploy.dashboards.billing import COPIES, INVOICES, PROCESSES
from deploy.dashboards.dashboard import Dashboard
from deploy.dashboards.deciding import DECIDING, USAGE, WELL

PIPELINE: Final = Dashboard(
    uid="tally-pipeline",
    title="Tally: pipeline",
    description="Whether Tally is well, and where usage waits on its way to an invoice.",
    since="now-1h",
    refresh="10s",
    rows=(WELL, USAGE, DECIDING, INVOICES, COPIES, PROCESSES),
)
