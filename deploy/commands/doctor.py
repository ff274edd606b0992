"""`tally doctor`."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from aggregator.settings import AggregatorSettings, ProjectorSettings
from deploy.doctor.job import Deployment, examine
from deploy.flags import checked_settings, whole_number
from deploy.target import add_target_flags, running_target, settings_of_target
from ingest.settings import GatewaySettings


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Look at a deployment and say what is wrong, and what to do about it. Changes nothing. Exits with 0 where"
        " nothing is wrong, with 1 where something is, with 2 where something could not be checked and all else is as"
        " it ought to be. Looks at the Tally that runs on the data directory, if one does and TALLY_KAFKA names no"
        " other. Give it the variables that the parts are given."
    )
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        metavar="URL",
        help="a part to ask whether it is ready, http://HOST:PORT of its /health; as often as needed",
    )
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="a directory of this machine whose disk to look at: a worker's state, Kafka's or Postgres' data; as often"
        " as needed",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--check-seconds", type=whole_number(1), default=10, help="how long to wait for an answer, s (10)"
    )
    parser.add_argument(
        "--watch-seconds",
        type=whole_number(1),
        default=5,
        help="how long to watch whether those move for whom records wait, s (5)",
    )
    add_target_flags(parser)


async def main(arguments: argparse.Namespace) -> int:
    """Examine, and print what was found."""
    report = await examine(_deployment(arguments))
    if arguments.json:
        print(json.dumps(report.wire(), indent=2, ensure_ascii=False))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
        for line in report.lines(width, colored=sys.stdout.isatty()):
            print(line)
        print(f"{report.summary}")
    return report.exit_code


def _deployment(arguments: argparse.Namespace) -> Deployment:
    target = running_target(arguments.data)
    settings = settings_of_target(arguments)
    is_target = target is not None and settings.kafka == target.kafka
    return Deployment(
        settings,
        checked_settings(AggregatorSettings),
        checked_settings(ProjectorSettings).project_events,
        checked_settings(GatewaySettings).connections,
        parts=[*([target.http] if target is not None and is_target else []), *arguments.part],
        directories=[*([arguments.data] if is_target else []), *arguments.dir],
        check_seconds=arguments.check_seconds,
        watch_seconds=arguments.watch_seconds,
    )
