"""Named queries: SQL lives in files beside the code that runs it, each query under a line `-- name: <name>`."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries(package: str) -> dict[str, str]:
    """The queries of a package's queries.sql by name."""
    text = (files(package) / "queries.sql").read_text(encoding="utf-8")
    _, *named = _NAME.split(text)
    return {name: sql.strip() for name, sql in zip(named[::2], named[1::2], strict=True)}
