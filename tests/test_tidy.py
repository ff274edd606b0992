"""What no reader should have to check: which way imports point, what rules may know, and where a float may be.

Each check (tests/tidy.py) has files of its own that it must complain of.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.tidy import (
    CHECKS,
    EXACT,
    HOSTS,
    LINES_MAX,
    PACKAGES,
    PLACES,
    Check,
    Source,
    files_are_short,
    imports_point_one_way,
    is_within,
    nothing_names_a_registry_or_this_machine,
    nothing_prints_but_commands,
    quantities_are_exact,
    rules_are_pure,
    schemas_read_no_clock_and_do_no_io,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def tree() -> list[Source]:
    """Every text file that is tracked, or would be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are the project's is not known")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    sources = []
    for path in paths:
        if path and (ROOT / path).is_file():
            content = (ROOT / path).read_bytes()
            if b"\0" not in content:
                sources.append(Source(path, content.decode()))
    return sources


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_tree_is_tidy(tree: list[Source], check: Check) -> None:
    applicable = [source for source in tree if source.is_python or not _needs_python(check)]
    assert "\n".join(complaint for source in applicable for complaint in check(source)) == ""


def _needs_python(check: Check) -> bool:
    return check not in {files_are_short, nothing_names_a_registry_or_this_machine}


def test_no_two_migrations_have_one_number(tree: list[Source]) -> None:
    names = [Path(source.path).name for source in tree if source.path.startswith("schemas/sql/")]
    numbers = Counter(name.split("_")[0] for name in names)
    assert numbers == {f"{number:04d}": 1 for number in range(1, len(names) + 1)}


@pytest.mark.parametrize("place", EXACT)
def test_what_must_be_exact_exists(tree: list[Source], place: str) -> None:
    assert any(source.path.startswith(place) for source in tree)


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (imports_point_one_way, "schemas/a.py", "import ingest"),
        (imports_point_one_way, "schemas/a.py", "from aggregator.rules import pricing"),
        (imports_point_one_way, "ingest/a.py", "from aggregator.rules.pricing import bill_of"),
        (imports_point_one_way, "ingest/gateway/a.py", "def f():\n    import aggregator"),
        (imports_point_one_way, "ingest/a.py", "import importlib\nimportlib.import_module('aggregator.app')"),
        (imports_point_one_way, "aggregator/app.py", "from ingest import producer"),
        (imports_point_one_way, "aggregator/app.py", "import deploy.cli"),
        (imports_point_one_way, "aggregator/rules/a.py", "from aggregator.engine.tables import Tables"),
        (imports_point_one_way, "aggregator/rules/a.py", "from aggregator import engine"),
        (imports_point_one_way, "aggregator/rules/a.py", "from ..engine import tables"),
        (imports_point_one_way, "aggregator/rules/a.py", "from .. import settings"),
        (imports_point_one_way, "aggregator/rules/__init__.py", "from ..engine import tables"),
        (imports_point_one_way, "aggregator/settings.py", "from aggregator.engine import tables"),
        (imports_point_one_way, "aggregator/engine/a.py", "from aggregator.closer import job"),
        (imports_point_one_way, "aggregator/closer/a.py", "from aggregator.engine.halt import Halt"),
        (imports_point_one_way, "aggregator/projector/a.py", "from aggregator.closer.lease import Lease"),
        (imports_point_one_way, "aggregator/audit/a.py", "from aggregator.rules import pricing"),
        (imports_point_one_way, "aggregator/audit/a.py", "from schemas.topics import partition_of"),
        (imports_point_one_way, "deploy/a.py", "from tests.unit import world"),
        (imports_point_one_way, "tests/acceptance/a.py", "from aggregator.rules import pricing"),
        (imports_point_one_way, "tests/acceptance/a.py", "from tests.unit.world import ms"),
        *((rules_are_pure, "aggregator/rules/a.py", f"import {name}") for name in ("time", "os", "random", "logging")),
        *((rules_are_pure, "aggregator/rules/a.py", f"import {name}") for name in ("faust", "aiokafka", "asyncpg")),
        (rules_are_pure, "aggregator/rules/a.py", "from prometheus_client import Counter"),
        (rules_are_pure, "aggregator/rules/a.py", "from datetime import datetime"),
        (rules_are_pure, "aggregator/rules/a.py", "from schemas.settings import Settings"),
        (rules_are_pure, "aggregator/rules/a.py", "def f(d):\n    return d.datetime.now()"),
        (rules_are_pure, "aggregator/rules/a.py", "def f():\n    global x\n    x = 1"),
        (rules_are_pure, "aggregator/rules/a.py", "open('state')"),
        (schemas_read_no_clock_and_do_no_io, "schemas/a.py", "import time"),
        (schemas_read_no_clock_and_do_no_io, "schemas/a.py", "from aiokafka import AIOKafkaProducer"),
        (schemas_read_no_clock_and_do_no_io, "schemas/a.py", "from datetime import datetime\ndatetime.now()"),
        (quantities_are_exact, "schemas/decimals.py", "ONE = 1.0"),
        (quantities_are_exact, "schemas/decimals.py", "ONE = 1e6"),
        (quantities_are_exact, "schemas/totals.py", "def f(a, b):\n    return a / b"),
        (quantities_are_exact, "schemas/totals.py", "def f(a, b):\n    a /= b"),
        (quantities_are_exact, "aggregator/rules/pricing.py", "def f(a):\n    return float(a)"),
        (quantities_are_exact, "aggregator/rules/pricing.py", "def f(a: float) -> None: ..."),
        (quantities_are_exact, "aggregator/rules/new/a.py", "numbers = list(map(float, '12'))"),
        (quantities_are_exact, "aggregator/rules/pricing.py", "def f(a):\n    return a * 10**-6"),
        (quantities_are_exact, "aggregator/rules/pricing.py", "from math import floor"),
        (quantities_are_exact, "aggregator/rules/closing.py", "def f(span):\n    return span.total_seconds()"),
        (nothing_prints_but_commands, "ingest/a.py", "def f():\n    print('ready')"),
        (files_are_short, "ingest/a.py", "pass\n" * (LINES_MAX + 1)),
        (files_are_short, "ingest/a.sql", "\n" * (LINES_MAX + 1)),
        *((nothing_names_a_registry_or_this_machine, "README.md", f"See https://x.{host}/y.") for host in HOSTS),
        *((nothing_names_a_registry_or_this_machine, ".ci/run", f"cd {place}") for place in PLACES),
        (nothing_names_a_registry_or_this_machine, "requirements.lock", "--index-url https://mirror.example/simple"),
    ],
)
def test_check_complains(check: Check, path: str, text: str) -> None:
    assert len(list(check(Source(path, text)))) == 1


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (imports_point_one_way, "schemas/a.py", "from schemas import decimals\nfrom . import text\nimport json"),
        (imports_point_one_way, "aggregator/rules/a.py", "from .pricing import bill_of\nfrom schemas import plan"),
        (imports_point_one_way, "aggregator/engine/a.py", "from aggregator.rules import closing\nimport ingestion"),
        (imports_point_one_way, "aggregator/audit/a.py", "from schemas.topics import Topic"),
        (imports_point_one_way, "deploy/a.py", "import ingest.producer, aggregator.engine.halt, deploy.cli"),
        (imports_point_one_way, "tests/acceptance/a.py", "from tests.acceptance import b\nfrom deploy import cli"),
        (rules_are_pure, "aggregator/rules/a.py", "from dataclasses import dataclass\nrecord.timestamp"),
        (rules_are_pure, "aggregator/engine/a.py", "import time"),
        (schemas_read_no_clock_and_do_no_io, "schemas/topics.py", "from aiokafka.partitioner import murmur2"),
        (quantities_are_exact, "schemas/decimals.py", "def f(a, b):\n    return a // b * 10**6 + 1"),
        (quantities_are_exact, "schemas/decimals.py", "from jiter import LosslessFloat\nx = 'float'  # 1.0 / 2"),
        (quantities_are_exact, "schemas/canonical.py", "def f(a):\n    assert not isinstance(a, float)"),
        (quantities_are_exact, "aggregator/engine/a.py", "TICK_SECONDS = 1.0"),
        (nothing_prints_but_commands, "deploy/cli.py", "print('ready')"),
        (nothing_prints_but_commands, "ingest/a.py", "'print(1)'"),
        (files_are_short, "ingest/a.py", "pass\n" * LINES_MAX),
        (files_are_short, "requirements.lock", "\n" * 9_999),
        (nothing_names_a_registry_or_this_machine, "README.md", "https://example.org/work and jgo.maven"),
    ],
)
def test_check_is_content(check: Check, path: str, text: str) -> None:
    assert list(check(Source(path, text))) == []


IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


def not_importable(modules: list[str]) -> str:
    """In a process of its own: an import must not lean on what the tests imported before."""
    command = [sys.executable, "-c", IMPORT_EACH, *modules]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=120).stdout


def test_every_module_can_be_imported(tree: list[Source]) -> None:
    modules = [source.module for source in tree if source.is_python and is_within(source.module, *PACKAGES)]
    assert len(modules) > len(PACKAGES)
    assert not_importable(modules) == ""


def test_a_module_that_cannot_be_imported_is_found() -> None:
    assert not_importable(["schemas.text", "schemas.absent"]).startswith("schemas.absent: ModuleNotFoundError")
