"""The pages that people work by name everything there is: a setting or an exit code that is missing is found
here, and so is a link or a test that has moved."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from aggregator.engine.halt import HaltReason
from deploy import settings_page
from deploy.cli import COMMANDS, PARTS, Part
from schemas.rejection import Reason
from schemas.topics import Topic

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CONTRACT = (ROOT / "docs" / "contract.md").read_text()
README = (ROOT / "README.md").read_text()

VARIABLE = re.compile(r"`(TALLY_[A-Z_]+)`")
OF_TESTS = {"TALLY_PEER_DIR", "TALLY_SHARED_DATA"}

METRICS = (ROOT / "docs" / "metrics.md").read_text()
ROLES = {"tally_closer", "tally_projector", "tally_gateway", "tally_insights", "tally_reader"}
"""Of Postgres: they are named like metrics."""


def anchors(page: Path) -> set[str]:
    """What a link into a page can name: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert settings_page.page() == SETTINGS, "run 'make docs'"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_setting_is_on_the_page_once(part: Part) -> None:
    module, _, name = part.settings.partition(":")
    for setting in getattr(import_module(module), name).model_fields:
        assert SETTINGS.count(f"| `TALLY_{setting.upper()}` |") == 1


def test_the_pages_name_no_setting_that_is_gone() -> None:
    named = {name for page in PAGES if page.name != "CHANGELOG.md" for name in VARIABLE.findall(page.read_text())}
    assert named - set(VARIABLE.findall(SETTINGS)) <= OF_TESTS


@pytest.mark.parametrize("reason", HaltReason)
def test_every_halt_has_its_way_out_on_the_page(reason: HaltReason) -> None:
    assert f"| {reason.code} | `{reason.name}` | " in OPERATIONS


def _metrics(page: Path) -> list[str]:
    return re.findall(r"`(tally_[a-z_]+)[`{]", page.read_text())


def test_the_pages_name_no_metric_that_is_gone() -> None:
    named = {name for page in PAGES if page.name != "CHANGELOG.md" for name in _metrics(page)}
    listed = set(re.findall(r"^\| `(tally_[a-z_]+)` \|", METRICS, re.MULTILINE))
    assert named - ROLES <= listed


@pytest.mark.parametrize(
    "name", [*Reason, *Topic, *(f"tally {c.name}" for c in COMMANDS[:2]), *(p.name for p in PARTS)]
)
def test_every_name_of_the_contract_is_on_its_page(name: str) -> None:
    assert re.search(rf"[`/ ]{re.escape(name)}[`, ]", CONTRACT)


def test_every_test_that_the_readme_names_exists() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", README))
    assert named
    assert named <= set(re.findall(r"def (test_\w+)\(", tests))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        linked = (page.parent / place).resolve() if place else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(linked), target
