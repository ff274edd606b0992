"""Command-line flags made of a settings class: one flag a setting, its default and unit in the help."""

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from schemas.errors import OperatorError
from schemas.settings import Settings

AnySettings = TypeVar("AnySettings", bound=BaseSettings)

ENV_PREFIX = "TALLY_"

SECRET = frozenset({"database_url", "webhook_secret", "webhook_url"})
"""Settings that are never shown: they may hold a password or are one."""


class SettingInvalid(OperatorError):
    """A flag or an environment variable has a value that can't be used."""

    exit_code = 2


def add_flags(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """A flag for each setting. A flag goes before the environment variable, which goes before the default."""
    group = parser.add_argument_group("settings (each also as an environment variable)")
    for name, field in kind.model_fields.items():
        group.add_argument(
            _flag(name),
            dest=f"setting_{name}",
            metavar=name.rpartition("_")[2].upper(),
            help=f"{field.description} ({ENV_PREFIX}{name.upper()}; default: {field.default!r})".replace("%", "%%"),
        )


def settings_of(arguments: argparse.Namespace, kind: type[AnySettings]) -> AnySettings:
    """The settings by flags, environment and defaults. Raises SettingInvalid."""
    given: dict[str, Any] = {
        name: value for name in kind.model_fields if (value := getattr(arguments, f"setting_{name}", None)) is not None
    }
    return checked_settings(kind, **given)


def checked_settings(kind: type[AnySettings], **given: Any) -> AnySettings:
    """The settings given here, else by environment and defaults. Raises SettingInvalid."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        value = "what it is" if name in SECRET else repr(str(first["input"]))
        what = f"The setting {_flag(name)} ({ENV_PREFIX}{name.upper()}) can't be {value}"
        why = first["msg"].removeprefix("Value error, ")
        raise SettingInvalid(f"{what}: {why[:1].lower()}{why[1:]}.") from error


def whole_number(least: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number, `least` or more."""

    def parsed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more, not {text!r}")
        return number

    return parsed


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
