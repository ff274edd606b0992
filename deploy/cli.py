"""The command line: each subcommand reads its settings once and hands them to the part that does the work."""

import argparse
import asyncio
import logging
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from deploy.cancelled_starts import close_connections_of_cancelled_starts
from deploy.eventloop import new_event_loop
from deploy.flags import add_flags, checked_settings, settings_of
from deploy.log_lines import FORMATS, LEVELS, LogSettings, redacted, write_log
from deploy.metrics import introduce
from deploy.responses import read_responses_in_place
from deploy.watchdog import watched
from schemas.errors import OperatorError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A subcommand: what it is for, and the module with its `arguments(parser)` (optional) and `main(arguments)`."""

    name: str
    summary: str
    module: str

    def prepare(self, parser: argparse.ArgumentParser) -> None:
        """Add the flags, and what they lead to."""
        module = import_module(self.module)
        if hasattr(module, "arguments"):
            module.arguments(parser)
        parser.set_defaults(main=module.main)


@dataclass(frozen=True)
class Part:
    """A subcommand that runs one process: its settings class and its `run(settings)`, as "module:name"."""

    name: str
    summary: str
    settings: str
    run: str

    def prepare(self, parser: argparse.ArgumentParser) -> None:
        """Add a flag for each setting, and what they lead to."""
        kind = _named(self.settings)
        add_flags(parser, kind)
        parser.set_defaults(main=_runner(self, kind))


PARTS = (
    Part("gateway", "run the HTTP gateway", "ingest.settings:GatewaySettings", "ingest.gateway.serve:run"),
    Part("aggregator", "run a worker", "aggregator.settings:AggregatorSettings", "aggregator.app:run"),
    Part("closer", "run the closer", "aggregator.settings:CloserSettings", "aggregator.closer.job:run"),
    Part("projector", "run the projector", "aggregator.settings:ProjectorSettings", "aggregator.projector.job:run"),
    Part(
        "insights",
        "run live rates, alerts and webhooks",
        "aggregator.settings:InsightsSettings",
        "aggregator.insights.job:run",
    ),
)

COMMANDS = (
    Command("up", "run everything on this machine until Ctrl-C", "deploy.commands.up"),
    Command("demo", "run everything, with a seeded month of usage and its invoices", "deploy.commands.demo"),
    Command("setup", "create topics, tables and a first key: what the parts need, once", "deploy.commands.setup"),
    Command("topics", "create the Kafka topics, or verify them", "deploy.commands.topics"),
    Command("migrate", "bring the Postgres tables to this version", "deploy.commands.migrate"),
    Command("keys", "create, list or revoke API keys", "deploy.commands.keys"),
    Command("replay", "replay a trace of LLM requests as usage", "deploy.commands.replay"),
    Command("load", "send generated usage", "deploy.commands.load"),
    Command("catalog", "mend the catalog after a loss, in Postgres or on its topic", "deploy.commands.catalog"),
    Command("audit", "recount everything from the log and compare", "deploy.commands.audit"),
    Command("doctor", "look at a deployment, and say what is wrong and what to do", "deploy.commands.doctor"),
    Command("recount", "recount one subscription and show the difference to its invoices", "deploy.commands.recount"),
    Command("redrive", "send rejected events again", "deploy.commands.redrive"),
    Command("invoice", "print an invoice as a statement", "deploy.commands.invoice"),
    Command("held", "closed periods without an invoice: list them, or have them tried again", "deploy.commands.held"),
    Command("bench", "measure a part", "deploy.commands.bench"),
)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; a person's errors are one sentence on stderr and an exit code that is not 0."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(argv).parse_args(argv)
    as_json = False
    close_connections_of_cancelled_starts()
    read_responses_in_place()
    try:
        as_json = _log(arguments)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            code = runner.run(arguments.main(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_on():
            sys.exit(128 + signal.SIGPIPE)
        told = _for_a_person(error)
        if as_json:
            sys.exit(_log_end(arguments.command, error, told))
        if told is None:
            raise
        print(f"tally {arguments.command}: {redacted(str(told))}", file=sys.stderr)
        sys.exit(told.exit_code)
    sys.exit(code or 0)


def _nobody_reads_on() -> bool:
    """Whether what reads this process's output has ended, as `head` does. Nothing more is written then."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _for_a_person(error: BaseException) -> OperatorError | None:
    """What a person is told of an error; of several tasks that failed together, what the first of them says."""
    if isinstance(error, BaseExceptionGroup):
        return next((told for part in error.exceptions if (told := _for_a_person(part)) is not None), None)
    return error if isinstance(error, OperatorError) else None


class _SentenceParser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, as all others are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'.\n")


def _log_end(command: str, error: Exception, told: OperatorError | None) -> int:
    """Where the log is read by a machine, its last line is one too. Returns the exit code."""
    if told is None:
        log.critical("The %s failed, which is a defect of Tally.", command, exc_info=error, extra={"exit_code": 1})
        return 1
    log.critical("%s", told, extra={"exit_code": told.exit_code})
    return told.exit_code


def _log(arguments: argparse.Namespace) -> bool:
    """Begin the log; returns whether it is JSON. Raises SettingInvalid."""
    given = {name: value for name in ("log_level", "log_format") if (value := getattr(arguments, name)) is not None}
    settings = checked_settings(LogSettings, **given)
    is_part = arguments.command in {part.name for part in PARTS}
    return write_log(settings, arguments.command, is_part, sys.stderr)


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """The parser. Only the command that is asked for is imported: a worker needs no web framework."""
    parser = _SentenceParser(prog="tally", description="Usage events in, invoice amounts out.")
    parser.add_argument(
        "--log-level", choices=LEVELS, help="how much a process logs to stderr (TALLY_LOG_LEVEL; default: info)"
    )
    parser.add_argument(
        "--log-format", choices=FORMATS, help="an object a line, or text for a person (TALLY_LOG_FORMAT; default: auto)"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (*COMMANDS, *PARTS):
        subparser = subparsers.add_parser(command.name, help=command.summary, description=command.summary)
        if command.name in argv:
            command.prepare(subparser)
    return parser


def _runner(part: Part, kind: Any) -> Callable[[argparse.Namespace], Awaitable[None]]:
    async def run(arguments: argparse.Namespace) -> None:
        settings = settings_of(arguments, kind)
        introduce(part.name)
        with watched(settings.watchdog_seconds):
            await _named(part.run)(settings)

    return run


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
