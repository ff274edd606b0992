"""`tally audit`."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from aggregator.audit.evidence import AuditImpossible
from aggregator.audit.job import audit
from aggregator.audit.report import Report
from deploy.commands import up
from deploy.flags import whole_number
from deploy.progress import Progress
from deploy.target import add_target_flags, settings_of_target

DISAGREES = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Recount everything from the log, independently, beside the topics and Postgres. Prints one report as JSON."
        " Exits with 0 where all agrees, with 1 where something does not; any other code means that there was no audit."
        " Uses the Tally that runs on the data directory, if one does and TALLY_KAFKA names no other."
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report goes (standard output)")
    parser.add_argument(
        "--processes", type=whole_number(1), default=os.cpu_count() or 1, help="partitions at a time (one a core)"
    )
    add_target_flags(parser)


async def main(arguments: argparse.Namespace) -> int:
    """Audit, and print the report."""
    settings = settings_of_target(arguments)
    reports: list[Report] = []

    async def run() -> None:
        progress = LogProgress()
        reports.append(await audit(settings, arguments.processes, progress))
        progress.finish()

    with _opened(arguments.report) as place:
        interrupted = await up.until_stopped(run())
        if interrupted:
            return interrupted
        (report,) = reports
        if place is not sys.stdout:
            place.truncate(0)
        json.dump(report.wire(), place, indent=2, ensure_ascii=False, default=_shown)
        place.write("\n")
    up.say(f"audit: {report.summary}")
    return 0 if report.agrees else DISAGREES


@contextlib.contextmanager
def _opened(place: Path | None) -> Iterator[TextIO]:
    """Where the report goes: asked for before the work, and not after it. Raises AuditImpossible."""
    if place is None:
        yield sys.stdout
        return
    try:
        with place.open("a") as file:  # an earlier report is kept until there is a new one
            yield file
    except OSError as error:
        raise AuditImpossible(f"The report can't be written to {place} ({error}): name another file.") from error


def _shown(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


class LogProgress:
    """Shows how much of the log was read, once it is known how much there is."""

    def __init__(self) -> None:
        self._shown: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._shown is None:
            self._shown = Progress("records read", total)
        self._shown.set(done)

    def finish(self) -> None:
        """The last word."""
        if self._shown is not None:
            self._shown.finish()
