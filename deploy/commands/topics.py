"""`tally topics`."""

import argparse

from deploy.flags import add_flags, settings_of, whole_number
from deploy.topics import ensure_topics
from schemas.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument(
        "--replication",
        type=whole_number(1),
        help="replicas of each topic (default: 3, or as many as there are brokers)",
    )
    add_flags(parser, Settings)


async def main(arguments: argparse.Namespace) -> None:
    """Create what is missing, verify what exists."""
    created = await ensure_topics(settings_of(arguments, Settings), arguments.replication)
    print(f"created {', '.join(created)}" if created else "all topics exist and are as they must be")
