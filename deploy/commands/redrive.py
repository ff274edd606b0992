"""`tally redrive`: rejected events on their way again, once what they were refused for is mended."""

import argparse
from collections import Counter
from collections.abc import Iterable

from deploy.calling import Caller, add_caller_flags, caller_of
from deploy.commands import up
from deploy.progress import Progress
from deploy.redriving import RejectedEvent, matching, redrive
from schemas.rejection import Reason
from schemas.topics import Topic


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Send rejected events again through the gateway, oldest first, and say what became of them. Duplicates are left"
        " out unless their code is named; so is whatever was no usage event. An event without an occurredAt keeps the"
        " time at which it was first received. Uses the Tally that runs on the data directory, unless --url names one."
    )
    parser.add_argument("--code", action="append", help="only those rejected with this code; repeatable (default: all)")
    parser.add_argument("--subscription", metavar="ID", help="only of this subscription")
    parser.add_argument("--from", dest="begin", metavar="TIME", help="only received at this time (RFC 3339) or later")
    parser.add_argument("--to", dest="end", metavar="TIME", help="only received before this time")
    parser.add_argument("--dry-run", action="store_true", help="only count them")
    add_caller_flags(parser, "scopes read and usage:write")


async def main(arguments: argparse.Namespace) -> int:
    """Redrive, and print what became of the events. Raises CallFailed."""
    return await up.until_stopped(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    async with caller_of(arguments) as caller:
        found = [event for filters in _filters(arguments) async for event in matching(caller, filters)]
        chosen = [event for event in reversed(found) if _is_to_go(event, arguments.code)]
        left_out = Counter(event.code for event in found) - Counter(event.code for event in chosen)
        if arguments.dry_run:
            print(f"to redrive: {_counted(event.code for event in chosen)}")
        else:
            print(f"redriven: {_counted(await _redriven(caller, chosen))}")
    print(f"left out: {_counted(left_out.elements())}")


async def _redriven(caller: Caller, events: list[RejectedEvent]) -> list[str]:
    progress = Progress("rejected events redriven", len(events))
    outcomes: list[str] = []

    def told(outcome: str) -> None:
        outcomes.append(outcome)
        progress.add(1)

    await redrive(caller, events, told)
    progress.finish()
    return outcomes


def _filters(arguments: argparse.Namespace) -> Iterable[dict[str, str]]:
    given = {"subscriptionId": arguments.subscription, "from": arguments.begin, "to": arguments.end}
    filters = {name: value for name, value in given.items() if value is not None}
    if arguments.code is None:
        return [filters]
    return [{**filters, "code": code} for code in dict.fromkeys(arguments.code)]


def _is_to_go(event: RejectedEvent, codes: list[str] | None) -> bool:
    return event.topic == Topic.USAGE_EVENTS and (codes is not None or event.code != Reason.DUPLICATE_EVENT_KEY)


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
