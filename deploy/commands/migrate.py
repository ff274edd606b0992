"""`tally migrate`."""

import argparse

from deploy.flags import add_flags, settings_of
from deploy.migrate import migrate
from schemas.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    add_flags(parser, Settings)


async def main(arguments: argparse.Namespace) -> None:
    """Apply what is not applied yet."""
    applied = await migrate(settings_of(arguments, Settings).database_url)
    print(f"applied {', '.join(applied)}" if applied else "the database is up to date")
