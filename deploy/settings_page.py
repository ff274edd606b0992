"""docs/settings.md, made of the settings classes: `python -m deploy.settings_page > docs/settings.md`."""

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from deploy.cli import PARTS
from deploy.flags import ENV_PREFIX
from deploy.log_lines import LogSettings
from schemas.settings import Settings

_BEGINNING = """\
# Settings

This page is generated from the code by `make docs`; a test fails where it is out of date.

Each is an environment variable and a flag of the command: `TALLY_BATCH_RECORDS_MAX`, `--batch-records-max`. The flag
goes first, then the variable, then the default. `tally COMMAND --help` lists those of a command. A value that can't be
used ends it with exit code 2, before it does anything.

What is a variable only: `TALLY_CACHE` is where `tally up` keeps Kafka's jars, and `TALLY_API_KEY` the key of `tally
redrive`.
"""


def page() -> str:
    """The whole page."""
    sections = [_section(_title(kind), kind) for kind in kinds()]
    return "".join((_BEGINNING, _section("Every command, before its name", LogSettings), *sections))


def kinds() -> list[type[Settings]]:
    """The classes with settings of their own, those that more parts share first."""
    found = dict.fromkeys(kind for part in _parts().values() for kind in reversed(part.__mro__))
    own = [kind for kind in found if issubclass(kind, Settings) and kind.__annotations__.keys() & kind.model_fields]
    return sorted(own, key=lambda kind: -len(_sharers(kind)))


def _parts() -> dict[str, type[Settings]]:
    named = {part.name: part.settings.partition(":") for part in PARTS}
    return {name: getattr(import_module(module), kind) for name, (module, _, kind) in named.items()}


def _sharers(kind: type[Settings]) -> list[str]:
    return [name for name, settings in _parts().items() if issubclass(settings, kind)]


def _section(title: str, kind: type[BaseSettings]) -> str:
    return "\n".join((f"\n## {title}\n", "| variable | default | may be | |", "|---|---|---|---|", *_rows(kind), ""))


def _title(kind: type[Settings]) -> str:
    if kind is Settings:
        return "Every part, and every command that needs Kafka or Postgres"
    sharers = _sharers(kind)
    if len(sharers) == len(PARTS):
        return "Every part"
    *others, last = sharers
    text = f"{', '.join(others)} and {last}" if others else last
    return text.capitalize()


def _rows(kind: type[BaseSettings]) -> Iterator[str]:
    for name in kind.__annotations__:
        if name in kind.model_fields:
            field = kind.model_fields[name]
            default = "none" if field.default == "" else f"`{field.default}`"
            yield f"| `{ENV_PREFIX}{name.upper()}` | {default} | {_range(field)} | {field.description} |"


def _range(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    bounds = {end: getattr(bound, end) for bound in field.metadata for end in ("ge", "gt", "le") if hasattr(bound, end)}
    least = f"{bounds['ge']:,} or more" if "ge" in bounds else f"over {bounds['gt']:,}" if "gt" in bounds else ""
    if "le" not in bounds:
        return least
    return f"{least}, up to {bounds['le']:,}" if "gt" in bounds else f"{bounds['ge']:,} to {bounds['le']:,}"


if __name__ == "__main__":
    sys.stdout.write(page())
