"""Each alert can ring, keeps silent where it must, says what to do, and has its paragraph."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
NOT_OURS = {"up", "process_start_time_seconds"}

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
CASES: list[dict[str, Any]] = [
    case
    for group in yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
    for case in group["promql_expr_test"]
]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed"
)
each_alert = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def promtool(*arguments: str) -> str:
    """What it says where it has something to complain of, else nothing."""
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@needs_promtool
def test_rules_and_configuration_are_valid() -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml") == ""
    assert promtool("check", "config", "prometheus.yml") == ""


@needs_promtool
def test_alerts_ring_when_they_must_and_only_then() -> None:
    assert promtool("test", "rules", "alerts_test.yaml") == ""


@each_alert
def test_each_alert_has_a_case_in_which_it_rings_and_one_in_which_it_does_not(rule: dict[str, Any]) -> None:
    rings = [bool(case["exp_samples"]) for case in CASES if f'alertname="{rule["alert"]}"' in case["expr"]]
    assert set(rings) == {True, False}


@each_alert
def test_each_alert_says_how_urgent_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


@each_alert
def test_what_an_alert_says_of_itself_is_filled_in(rule: dict[str, Any]) -> None:
    """A label that the expression has lost on its way would be told as nothing."""
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    for case in CASES:
        for sample in case["exp_samples"]:
            if f'alertname="{rule["alert"]}"' in sample["labels"]:
                assert told <= set(re.findall(r'(\w+)="', sample["labels"]))


@each_alert
def test_alerts_ask_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", METRICS, re.MULTILINE)) | NOT_OURS
    asked = set(re.findall(r"\b(?:tally|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", rule["expr"])))
    assert asked
    assert asked <= listed


def test_each_alert_has_its_paragraph_and_each_paragraph_its_alert() -> None:
    section = OPERATIONS.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    paragraphs = re.findall(r"^### (\w+)\n\n(Critical|Warning)[.,] \w", section, re.MULTILINE)
    assert paragraphs == [(rule["alert"], rule["labels"]["severity"].capitalize()) for rule in RULES]
