"""A dashboard: rows of panels, laid out from left to right, and the data sources that a person chooses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.dashboards.panel import WIDTH, Panel, Source

SCHEMA_VERSION: Final = 39
"""Of Grafana 11; later ones bring it up to theirs."""

PROVISIONED: Final = {Source.PROMETHEUS: "tally-prometheus", Source.POSTGRES: "tally-postgres"}
"""What is chosen at first: the uids in deploy/grafana/provisioning/datasources."""


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """`since` is how far back it looks at first, `refresh` how often it asks again, both in Grafana's words."""

    uid: str
    title: str
    description: str
    since: str
    refresh: str
    rows: tuple[Row, ...]

    def json(self) -> dict[str, Any]:
        """As Grafana has it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["tally"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "utc",
            "time": {"from": self.since, "to": "now"},
            "refresh": self.refresh,
            "templating": {"list": [_variable(source) for source in Source]},
            "panels": list(self._panels()),
        }

    def _panels(self) -> Iterator[dict[str, Any]]:
        number, y = 0, 0
        for row in self.rows:
            number += 1
            place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
            yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
            x, y, height = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, height = 0, y + height, 0
                number += 1
                yield panel.json(number, x, y)
                x, height = x + panel.width, max(height, panel.height)
            y += height


def _variable(source: Source) -> dict[str, Any]:
    name = source.name.capitalize()
    return {
        "name": source.name.lower(),
        "label": name,
        "type": "datasource",
        "query": source.value,
        "current": {"text": name, "value": PROVISIONED[source]},
    }
