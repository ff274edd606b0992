"""A panel: what it asks, of which data source, and how it is drawn."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

WIDTH: Final = 24
"""Columns of a dashboard."""


class Source(StrEnum):
    """A data source by the plugin's name."""

    PROMETHEUS = "prometheus"
    POSTGRES = "grafana-postgresql-datasource"

    @property
    def reference(self) -> dict[str, str]:
        """Whatever the dashboard's variable of this name is set to."""
        return {"type": self.value, "uid": f"${{{self.name.lower()}}}"}


class Kind(StrEnum):
    """How a panel is drawn."""

    GRAPH = "timeseries"
    NUMBER = "stat"
    TABLE = "table"


@dataclass(frozen=True)
class Query:
    """PromQL, with the legend of its series; or SQL."""

    text: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """`unit` is one of Grafana's."""

    title: str
    description: str
    unit: str
    kind: Kind
    source: Source
    queries: tuple[Query, ...]
    width: int
    height: int
    draw: str = "line"

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """As Grafana has it, at a place of the dashboard."""
        return {
            "id": number,
            "type": self.kind.value,
            "title": self.title,
            "description": self.description,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "datasource": self.source.reference,
            "fieldConfig": {"defaults": {"unit": self.unit, "custom": self._custom()}, "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": [self._target(chr(ord("A") + at), query) for at, query in enumerate(self.queries)],
        }

    def _custom(self) -> dict[str, Any]:
        if self.kind is not Kind.GRAPH:
            return {}
        if self.draw == "bars":
            return {"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}, "axisSoftMin": 0}
        return {"drawStyle": "line", "fillOpacity": 10, "axisSoftMin": 0, "showPoints": "never"}

    def _target(self, letter: str, query: Query) -> dict[str, Any]:
        target = {"refId": letter, "datasource": self.source.reference}
        if self.source is Source.PROMETHEUS:
            instant = self.kind is not Kind.GRAPH
            return {
                **target,
                "expr": query.text,
                "legendFormat": query.legend,
                "instant": instant,
                "range": not instant,
            }
        kind = "time_series" if self.kind is Kind.GRAPH else "table"
        return {**target, "editorMode": "code", "rawQuery": True, "format": kind, "rawSql": query.text}


_OPTIONS: Final[dict[Kind, dict[str, Any]]] = {
    Kind.GRAPH: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.NUMBER: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm"},
}


def number(title: str, description: str, unit: str, *queries: Query, width: int = 4) -> Panel:
    """The newest value of PromQL, one for each series."""
    return Panel(title, description, unit, Kind.NUMBER, Source.PROMETHEUS, queries, width, 4)


def graph(title: str, description: str, unit: str, *queries: Query, width: int = 8) -> Panel:
    """PromQL over time."""
    return Panel(title, description, unit, Kind.GRAPH, Source.PROMETHEUS, queries, width, 8)


def days(title: str, description: str, unit: str, sql: str, width: int = 12) -> Panel:
    """SQL that gives `time`, `metric` and a value: bars, one for each metric upon the other."""
    return Panel(title, description, unit, Kind.GRAPH, Source.POSTGRES, (Query(sql),), width, 8, draw="bars")


def table(title: str, description: str, sql: str, width: int = 12, unit: str = "none") -> Panel:
    """The rows of SQL."""
    return Panel(title, description, unit, Kind.TABLE, Source.POSTGRES, (Query(sql),), width, 9)
