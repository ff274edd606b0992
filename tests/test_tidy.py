"""What no reader should have to check: which way imports point, what rules may know, and where a float may be.

Each check is a function from a file to its complaints, and has files of its own that it must complain of.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "ingest", "aggregator", "deploy")
LINES_MAX = 350


@dataclass(frozen=True)
class Source:
    """A file of the project; `path` is relative to its root."""

    path: str
    text: str = field(repr=False)

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    def imports(self) -> Iterator[tuple[ast.AST, str]]:
        """The dotted name of all that is imported, wherever in the file and however."""
        package = self.module.split(".") if self.path.endswith("__init__.py") else self.module.split(".")[:-1]
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                beginning = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*beginning, *([node.module] if node.module else [])])
                yield from ((node, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
                yield node, ast.unparse(node.args[0]).strip("'\"")

    def complaint(self, node: ast.AST, what: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}: {what}"


def _called(node: ast.Call) -> str | None:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def _is_within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


# Which way imports point (design section 11): what each part may import beside itself.

_SHARED = ("aggregator.settings", "aggregator.health", "aggregator.sql")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "schemas": (),
    "ingest": ("schemas",),
    "aggregator.rules": ("schemas",),
    "aggregator.audit": tuple(  # its independence is its worth: names, and nothing that computes
        f"schemas.{name}" for name in ("topics.Topic", "settings.Settings", "errors.OperatorError", "rejection.Reason")
    ),
    "aggregator.stream": ("schemas", *_SHARED),
    "aggregator.engine": ("schemas", "aggregator.rules", "aggregator.stream", *_SHARED),
    "aggregator.closer": ("schemas", "aggregator.rules", "aggregator.stream", *_SHARED),
    "aggregator.projector": ("schemas", "aggregator.rules", "aggregator.stream", *_SHARED),
    "aggregator.insights": ("schemas", "aggregator.rules", "aggregator.stream", *_SHARED),
    **dict.fromkeys(_SHARED, ("schemas", *_SHARED)),
    "aggregator": ("schemas",),
    "deploy": ("schemas", "ingest", "aggregator"),
    "tests.acceptance": ("schemas", "deploy"),  # it starts the real processes and knows nothing of their insides
    "tests": ("schemas", "ingest", "aggregator", "deploy"),
}
PARTS = sorted(MAY_IMPORT, key=len, reverse=True)


def imports_point_one_way(source: Source) -> Iterator[str]:
    part = next((part for part in PARTS if _is_within(source.module, part)), None)
    for node, name in source.imports() if part is not None else ():
        if _is_within(name, *PACKAGES, "tests") and not _is_within(name, part or "", *MAY_IMPORT[part or ""]):
            yield source.complaint(node, f"{part} may not import {name}")


# What rules may know: values. An allow-list, so that what nobody thought of is refused too.

RULES_MAY_IMPORT = (
    *("collections.abc", "dataclasses", "decimal", "enum", "fractions", "functools", "hashlib", "itertools"),
    *("json.encoder", "struct", "typing", "schemas", "aggregator.rules"),
)
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "now", "today", "utcnow"}


def rules_are_pure(source: Source) -> Iterator[str]:
    if not source.path.startswith("aggregator/rules/"):
        return
    for node, name in source.imports():
        if not _is_within(name, *RULES_MAY_IMPORT) or _is_within(name, "schemas.settings"):
            yield source.complaint(node, f"rules may not import {name}")
    for node in source.nodes:
        if isinstance(node, ast.Global) or (isinstance(node, ast.Call) and _called(node) in IMPURE_CALLS):
            yield source.complaint(node, f"rules may not do this: {ast.unparse(node)}")


IMPURE_MODULES = ("asyncio", "asyncpg", "aiokafka", "faust", "logging", "os", "prometheus_client", "random", "time")


def schemas_read_no_clock_and_do_no_io(source: Source) -> Iterator[str]:
    """Rules call them, so what rules may not know they may not know either; topics has Kafka's hash function."""
    if not source.path.startswith("schemas/"):
        return
    for node, name in source.imports():
        if _is_within(name, *IMPURE_MODULES) and not _is_within(name, "aiokafka.partitioner"):
            yield source.complaint(node, f"schemas may not import {name}")
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) in {"now", "today", "utcnow"}:
            yield source.complaint(node, "schemas may not read the clock")


# Where a float may be: in no file that handles a quantity or an amount.

EXACT = (
    *(f"schemas/{noun}.py" for noun in ("decimals", "totals", "closed_period", "pricing", "plan", "invoice", "alert")),
    *("schemas/usage_event.py", "schemas/usage_rate.py", "schemas/canonical.py", "aggregator/rules/"),
    *(f"aggregator/audit/{noun}.py" for noun in ("amounts", "billing", "closed", "counting", "invoices", "prices")),
    *(f"aggregator/audit/{noun}.py" for noun in ("invoiced", "recounted", "totals")),
)
FLOAT_MAKERS = {"total_seconds", "timestamp"}


def quantities_are_exact(source: Source) -> Iterator[str]:
    """Without these nothing makes a float of integers, text and bytes. A negative power of an integer is one, too."""
    if not source.path.startswith(EXACT):
        return
    for node, name in source.imports():
        if _is_within(name, "math", "statistics", "cmath", "random", "operator"):
            yield source.complaint(node, f"{name} has floats")
    refusals = {id(node.args[1]) for node in source.nodes if _refuses_floats(node)}  # type: ignore[attr-defined]
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
            yield source.complaint(node, f"a float: {node.value!r}")
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
            yield source.complaint(node, f"a true division: {ast.unparse(node)}")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.UnaryOp):
            yield source.complaint(node, f"a power below 1: {ast.unparse(node)}")
        elif isinstance(node, ast.Name) and node.id in {"float", "complex"} and id(node) not in refusals:
            yield source.complaint(node, f"the type {node.id}")
        elif isinstance(node, ast.Call) and _called(node) in FLOAT_MAKERS:
            yield source.complaint(node, f"a call that makes a float: {ast.unparse(node)}")


def _refuses_floats(node: ast.AST) -> bool:
    """`isinstance(value, float)`: the one use of the name that makes none."""
    return isinstance(node, ast.Call) and _called(node) == "isinstance" and len(node.args) == 2


def nothing_prints_but_commands(source: Source) -> Iterator[str]:
    if source.is_python and not source.path.startswith("deploy/"):
        for node in source.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield source.complaint(node, "print; return the text, or log it")


def files_are_short(source: Source) -> Iterator[str]:
    if source.path.endswith((".py", ".sql")) and (lines := source.text.count("\n")) > LINES_MAX:
        yield f"{source.path}: {lines} lines; a file is one noun, {LINES_MAX} lines at most"


# What would tie the tree to one machine or one registry. Put together here, so that this file holds none of them.

HOSTS = [
    ".".join(labels)
    for labels in (
        *(("pypi", "org"), ("pythonhosted", "org"), ("maven", "org"), ("repo", "maven", "apache", "org")),
        *(("npmjs", "org"), ("crates", "io"), ("proxy", "golang", "org"), ("docker", "io"), ("ghcr", "io")),
        *(("quay", "io"), ("gcr", "io")),
    )
]
PLACES = ["/".join(parts) for parts in (("", "work", "main"), ("", "work", "shared"), ("", "root", ""))]
_ELSEWHERE = re.compile("|".join(re.escape(text) for text in (*HOSTS, *PLACES)), re.IGNORECASE)


def nothing_names_a_registry_or_this_machine(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), start=1):
        for found in _ELSEWHERE.findall(line):
            yield f"{source.path}:{number}: names {found}"
        if source.path.endswith(".lock") and "://" in line:
            yield f"{source.path}:{number}: a lock file names no host"


Check = Callable[[Source], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    *(imports_point_one_way, rules_are_pure, schemas_read_no_clock_and_do_no_io, quantities_are_exact),
    *(nothing_prints_but_commands, files_are_short, nothing_names_a_registry_or_this_machine),
)


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
    modules = [source.module for source in tree if source.is_python and _is_within(source.module, *PACKAGES)]
    assert len(modules) > len(PACKAGES)
    assert not_importable(modules) == ""


def test_a_module_that_cannot_be_imported_is_found() -> None:
    assert not_importable(["schemas.text", "schemas.absent"]).startswith("schemas.absent: ModuleNotFoundError")
