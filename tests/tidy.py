"""The checks of test_tidy.py: each is a function from a file to its complaints."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

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


def is_within(name: str, *modules: str) -> bool:
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
    part = next((part for part in PARTS if is_within(source.module, part)), None)
    for node, name in source.imports() if part is not None else ():
        if is_within(name, *PACKAGES, "tests") and not is_within(name, part or "", *MAY_IMPORT[part or ""]):
            yield source.complaint(node, f"{part} may not import {name}")


# What rules may know: values. An allow-list, so that what nobody thought of is refused too.

RULES_MAY_IMPORT = (
    *("collections.abc", "dataclasses", "decimal", "enum", "fractions", "functools", "hashlib", "itertools"),
    *("json.encoder", "msgspec", "struct", "typing", "schemas", "aggregator.rules"),
)
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "now", "today", "utcnow"}


def rules_are_pure(source: Source) -> Iterator[str]:
    if not source.path.startswith("aggregator/rules/"):
        return
    for node, name in source.imports():
        if not is_within(name, *RULES_MAY_IMPORT) or is_within(name, "schemas.settings"):
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
        if is_within(name, *IMPURE_MODULES) and not is_within(name, "aiokafka.partitioner"):
            yield source.complaint(node, f"schemas may not import {name}")
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) in {"now", "today", "utcnow"}:
            yield source.complaint(node, "schemas may not read the clock")


# Where a float may be: in no file that handles a quantity or an amount.

EXACT = (
    *(f"schemas/{noun}.py" for noun in ("decimals", "totals", "closed_period", "plan", "invoice", "alert")),
    *("schemas/price.py", "schemas/pricing.py", "schemas/usage_event.py", "schemas/usage_rate.py"),
    *("schemas/canonical.py", "aggregator/rules/", "deploy/statement.py", "deploy/breakdown.py"),
    *(f"aggregator/audit/{noun}.py" for noun in ("amounts", "billing", "closed", "counting", "invoices", "prices")),
    *(f"aggregator/audit/{noun}.py" for noun in ("invoiced", "recounted", "totals")),
)
FLOAT_MAKERS = {"total_seconds", "timestamp"}


def quantities_are_exact(source: Source) -> Iterator[str]:
    """Without these nothing makes a float of integers, text and bytes. A negative power of an integer is one, too."""
    if not source.path.startswith(EXACT):
        return
    for node, name in source.imports():
        if is_within(name, "math", "statistics", "cmath", "random", "operator"):
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
