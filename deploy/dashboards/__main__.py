"""Write the dashboards to deploy/grafana/dashboards."""

import json
from pathlib import Path
from typing import Final

from deploy.dashboards.pipeline import PIPELINE
from deploy.dashboards.revenue import REVENUE

DIRECTORY: Final = Path(__file__).parents[1] / "grafana" / "dashboards"


def files() -> dict[Path, str]:
    """Each dashboard's file with what it must hold."""
    return {
        DIRECTORY / f"{dashboard.uid}.json": json.dumps(dashboard.json(), indent=2) + "\n"
        for dashboard in (PIPELINE, REVENUE)
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
