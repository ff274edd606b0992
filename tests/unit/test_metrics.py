"""The metrics as a whole: they follow Prometheus's conventions, and the page that lists them is up to date."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.metrics_page import SECTIONS, described, labels_of, metrics_of, page

ROOT = Path(__file__).parents[2]
METRICS = [metric for _, module in SECTIONS for metric in metrics_of(import_module(module))]

UNITS = ("seconds", "bytes", "records", "events", "periods", "offset", "keys", "info")
"""How a name may end, beside a suffix of its type. What is counted one by one may end in its noun."""
NO_UNIT = {
    *("tally_partition_open", "tally_ready", "tally_gateway_ready", "tally_closer_up", "tally_projector_up"),
    *("tally_projector_events_up", "tally_closer_lease_epoch", "tally_gateway_connections"),
    *("tally_gateway_requests_in_flight", "tally_gateway_usage_events_in_flight", "tally_gateway_verdicts_awaited"),
    *("tally_insights_rates_up", "tally_webhooks_up", "tally_alert_webhooks_up", "tally_insights_alerts_firing"),
    *("tally_insights_events_per_second", "tally_insights_meters", "tally_webhooks_waiting", "tally_webhooks_parked"),
    "tally_catalog_outbox_backlog",
}


@pytest.fixture(scope="module")
def exposition() -> str:
    """All metrics as Prometheus reads them, each with a series, in a registry of their own."""
    registry = CollectorRegistry()
    for metric in METRICS:
        family, labels = described(metric), labels_of(metric)
        copy = type(metric)(family.name, family.documentation, labels, registry=registry)
        if labels:
            copy.labels(*["value"] * len(labels))
    return generate_latest(registry).decode()


def complaints(text: str) -> Iterator[str]:
    """What breaks the conventions: https://prometheus.io/docs/practices/naming/, and what promtool looks for."""
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):  # the library's own
            continue
        if not re.fullmatch(r"tally(_[a-z0-9]+)+", family.name):
            yield f"{family.name}: not tally_ and words in snake case"
        if not family.documentation.endswith("."):
            yield f"{family.name}: its help is no sentence"
        if family.type not in ("counter", "gauge", "histogram"):
            yield f"{family.name}: of the type {family.type}"
        if family.type in family.name.split("_"):
            yield f"{family.name}: names its type"
        if family.type != "counter" and family.name.endswith(("_total", "_count", "_sum", "_bucket")):
            yield f"{family.name}: ends like another type"
        if {"total", "ms", "milliseconds", "minutes", "kb", "mib", "percent"} & set(family.name.split("_")):
            yield f"{family.name}: not in a base unit"
        if family.type != "counter" and family.name not in NO_UNIT and not family.name.endswith(UNITS):
            yield f"{family.name}: ends in no unit"
        for sample in family.samples:
            for label in sample.labels:
                if not re.fullmatch(r"[a-z]+", label):
                    yield f"{family.name}: the label {label}"


def test_metrics_follow_the_conventions(exposition: str) -> None:
    assert list(complaints(exposition)) == []
    shown = {re.sub("_total$", "", name) for name in re.findall(r"^# HELP (\S+)", exposition, re.MULTILINE)}
    assert {described(metric).name for metric in METRICS} <= shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# HELP tally_lag_ms Late.\n# TYPE tally_lag_ms gauge\ntally_lag_ms 1\n", "not in a base unit"),
        ("# HELP tally_lagSeconds Late.\n# TYPE tally_lagSeconds gauge\ntally_lagSeconds 1\n", "snake case"),
        ("# HELP tally_lag_seconds\n# TYPE tally_lag_seconds gauge\ntally_lag_seconds 1\n", "no sentence"),
        ("# HELP tally_lag Late.\n# TYPE tally_lag gauge\ntally_lag 1\n", "ends in no unit"),
        ("# HELP tally_gauge_bytes Big.\n# TYPE tally_gauge_bytes gauge\ntally_gauge_bytes 1\n", "names its type"),
        ('# HELP tally_a_bytes Big.\n# TYPE tally_a_bytes gauge\ntally_a_bytes{userId="1"} 1\n', "the label userId"),
    ],
)
def test_what_breaks_the_conventions_is_found(text: str, complaint: str) -> None:
    assert any(complaint in said for said in complaints(text))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_has_nothing_to_say(exposition: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == page(), "run 'make docs'"


def test_every_module_that_defines_a_metric_has_a_section() -> None:
    files = [file for part in ("schemas", "ingest", "aggregator", "deploy") for file in (ROOT / part).rglob("*.py")]
    defining = {
        file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for file in files
        if re.search(r"^\w+ = (Counter|Gauge|Histogram|Summary|Info|Enum)\(", file.read_text(), re.MULTILINE)
    }
    assert defining == {module for _, module in SECTIONS}


def test_no_metric_is_defined_twice() -> None:
    names = [described(metric).name for metric in METRICS]
    assert len(names) == len(set(names))
