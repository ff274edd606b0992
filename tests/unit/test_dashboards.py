"""The dashboards as they are in the tree: what the code makes, and complete. That they show something is looked at by
tests/integration/test_dashboards.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.dashboards.__main__ import files

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "docs" / "contract.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
PUBLISHED = set(re.findall(r"^\| `(\w+)` \|", CONTRACT.partition("\n## 4.")[2].partition("\n## ")[0], re.MULTILINE))
DIRECTORY = ROOT / "deploy" / "grafana" / "dashboards"

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}
PANELS: list[dict[str, Any]] = [
    panel for dashboard in DASHBOARDS.values() for panel in dashboard["panels"] if panel["type"] != "row"
]
TARGETS = [target for panel in PANELS for target in panel["targets"]]


def test_the_dashboards_are_up_to_date() -> None:
    assert {path: path.read_text() for path in DIRECTORY.glob("*.json")} == files(), "run 'make docs'"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_each_dashboard_lets_its_data_sources_be_chosen(dashboard: dict[str, Any]) -> None:
    variables = {f"${{{variable['name']}}}": variable["query"] for variable in dashboard["templating"]["list"]}
    assert set(variables) == {"${prometheus}", "${postgres}"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"]
            assert variables[target["datasource"]["uid"]] == target["datasource"]["type"]


def test_what_is_chosen_at_first_is_provisioned() -> None:
    provisioned = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "tally.yaml").read_text()
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            assert f"uid: {variable['current']['value']}\n    type: {variable['query']}\n" in provisioned


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_no_panel_lies_upon_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_panels_ask_for_metrics_that_exist() -> None:
    listed = {name.removesuffix("_total") for name in re.findall(r"^\| `(tally_\w+)` \|", METRICS, re.MULTILINE)}
    asked = {name for target in TARGETS for name in re.findall(r"\btally_\w+", target.get("expr", ""))}
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in asked} <= listed


def test_sql_reads_only_what_is_published() -> None:
    """A change of these tables is a breaking change, and of any other it is not (contract section 4)."""
    for target in TARGETS:
        if sql := target.get("rawSql"):
            own = set(re.findall(r"(\w+) AS \(\n? *SELECT", sql))
            assert set(re.findall(r"(?:FROM|JOIN) (\w+)", sql)) - own <= PUBLISHED
