"""docs/metrics.md, made of the metrics themselves: `python -m deploy.metrics_page > docs/metrics.md`."""

import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

SECTIONS = (
    ("Every part", "deploy.metrics"),
    ("Every part but the gateway", "aggregator.health"),
    ("Gateway", "ingest.metrics"),
    ("Aggregator", "aggregator.engine.metrics"),
    ("Closer", "aggregator.closer.metrics"),
    ("Projector", "aggregator.projector.metrics"),
    ("Insights", "aggregator.insights.metrics"),
)
"""What a section is called, and the module whose metrics it lists."""

_BEGINNING = """\
# Metrics

This page is generated from the code by `make docs`; a test fails where it is out of date.

All for Prometheus, in its text format, without a key: the gateway's at `/metrics` on the port of the API, each other
part's on its own `TALLY_METRICS_PORT` ([settings](operations.md#settings)). Which to watch, and what to do then, is in
[operations](operations.md#metrics).

Counters begin at 0 with each process: use `rate()` and `increase()`. A histogram is read as its `_bucket`, `_sum` and
`_count`. Nothing that a caller can make up is ever a label, so the number of series is bounded:

| label | values |
|---|---|
| `partition` | the partitions of `usage-events`, from 0 on; `TALLY_PARTITIONS` of them |
| `topic` | topics, without the prefix |
| `verdict` | the counts of a ledger ([contract](contract.md#3-kafka)) |
| `reason` | of a rejection its code ([contract](contract.md#2-http)); of a [held period](operations.md#held-periods); \
`unreadable`, `refused` of a record that the projector skipped |
| `outcome` | `sent`, `lost` of an answer to a gateway; `recorded`, `pending` or the code of the refusal of an event; \
`delivered`, `failed` (sent again later), `parked` (given up) of a webhook |
| `route` | the API's routes as its documentation writes them; `none` for any other path |
| `method`, `status` | HTTP's methods, `other` for any other; its statuses, `none` where there was no answer; \
`firing`, `resolved` of an alert |
| `limit` | `requests_per_second`, `connections`, `headers_seconds` |
| `table` | tables that the projector writes |
| `level` | `debug`, `info`, `warning`, `error`, `critical` |
| `part`, `version` | which part of Tally, which version |
"""

_END = """
Beside these, `process_*` (memory, CPU, open files, `process_start_time_seconds`) and `python_*` come from
prometheus-client.
"""


def metrics_of(module: ModuleType) -> list[MetricWrapperBase]:
    """The metrics that a module defines, in its order."""
    return [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]


def described(metric: MetricWrapperBase) -> Metric:
    """The metric's name, type and help."""
    (family,) = metric.describe()
    return family


def labels_of(metric: MetricWrapperBase) -> tuple[str, ...]:
    """The names of a metric's labels, which the library tells in no public way."""
    return tuple(metric._labelnames)


def page() -> str:
    """The whole page."""
    return "".join((_BEGINNING, *(_section(title, import_module(name)) for title, name in SECTIONS), _END))


def _section(title: str, module: ModuleType) -> str:
    return "\n".join(
        (f"\n## {title}\n", "| metric | type | labels | |", "|---|---|---|---|", *_rows(metrics_of(module)), "")
    )


def _rows(metrics: list[MetricWrapperBase]) -> Iterator[str]:
    for metric in metrics:
        family = described(metric)
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


if __name__ == "__main__":
    sys.stdout.write(page())
