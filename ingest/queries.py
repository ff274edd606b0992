"""SQL in files: each statement follows a line '-- name: <name>'."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def named_queries(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The statements of a file in a package, by name."""
    _, *parts = _NAME.split((files(package) / file).read_text(encoding="utf-8"))
    return {name: statement.strip() for name, statement in zip(parts[::2], parts[1::2], strict=True)}
