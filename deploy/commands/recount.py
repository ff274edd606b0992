"""`tally recount`: is this invoice right?"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal

from aggregator.audit.recounted import InvoiceRecount, MeterRecount, PeriodRecount, SubscriptionRecount
from aggregator.audit.report import Disagreement
from aggregator.audit.subscription_job import recount_subscription
from aggregator.audit.times import time_of, time_text
from deploy.commands import up
from deploy.commands.audit import DISAGREES, LogProgress
from deploy.flags import whole_number
from deploy.target import add_target_flags, settings_of_target

GAP = "  "


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Recount one subscription from the log, independently of what was counted and billed, and show the difference"
        " to what it was invoiced. Exits with 0 where there is none, with 1 where there is; any other code means that"
        " there was no recount. Uses the Tally that runs on the data directory, if one does and TALLY_KAFKA names no"
        " other."
    )
    parser.add_argument("--subscription", required=True, metavar="ID", help="whose invoices are to be recounted")
    moment = "the start of a billing period, or any moment in it, as RFC 3339 (all that have usage or an invoice)"
    parser.add_argument("--period", type=_moment, metavar="START", help=moment)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument(
        "--processes", type=whole_number(1), default=os.cpu_count() or 1, help="partitions at a time (one a core)"
    )
    add_target_flags(parser)


def _moment(text: str) -> int:
    at = time_of(text)
    if at is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of 2000 to 2100: give one like 2026-01-01T00:00:00Z")
    return at


async def main(arguments: argparse.Namespace) -> int:
    """Recount, and print what was found."""
    settings = settings_of_target(arguments)
    found: list[SubscriptionRecount] = []

    async def run() -> None:
        progress = LogProgress()
        subscription_id = arguments.subscription.strip()
        found.append(
            await recount_subscription(settings, arguments.processes, subscription_id, arguments.period, progress)
        )
        progress.finish()

    interrupted = await up.until_stopped(run())
    if interrupted:
        return interrupted
    (recount,) = found
    if arguments.json:
        print(json.dumps(recount.wire(), indent=2, ensure_ascii=False, default=str))
    else:
        print("\n".join(report(recount)))
    up.say(f"recount: {_summary(recount)}")
    return 0 if recount.agrees else DISAGREES


def _summary(recount: SubscriptionRecount) -> str:
    if recount.agrees:
        return f"no difference in {len(recount.periods)} billing periods"
    wrong = [time_text(period.start) for period in recount.periods if period.differs]
    return f"a difference, in {', '.join(wrong) or 'what is of no known period'}: 'tally audit' tells of all events"


# As tables


def report(recount: SubscriptionRecount) -> Iterator[str]:
    """What was found, line by line."""
    yield f"Subscription {recount.subscription_id}, service {recount.service_id}, user {recount.user_id}"
    if not recount.periods:
        yield "Nothing was counted, closed or invoiced of it."
    for period in recount.periods:
        yield ""
        yield from _period(period)
    if recount.disagreements:
        yield ""
        yield from _disagreements("Of no known period:", recount.disagreements)
    yield ""
    yield f"Recounted up to these offsets (its own partition is {recount.partition}):"
    for part in recount.cut["partitions"]:
        offsets = ", ".join(f"{topic} {offset}" for topic, offset in sorted(part["positions"].items()))
        yield f"{GAP}partition {part['partition']}: {offsets}"
    cut = recount.cut
    yield f"{GAP}closed-periods {cut['closedPeriods']}, of which the closer has invoiced up to {cut['closer']}"


def _period(period: PeriodRecount) -> Iterator[str]:
    end = "for ever" if period.end is None else f"to {time_text(period.end)}"
    sequences = f"closed up to sequence {period.sequences - 1}" if period.sequences else "no sequence closed yet"
    yield f"Period {time_text(period.start)} {end}: {sequences}"
    yield f"Plan {period.plan_id}: {period.pricing_type}, invoicing {period.invoicing}, {period.currency}"
    if period.offsets is not None:
        yield f"Its events in its own partition: offsets {period.offsets[0]} to {period.offsets[1]}"
    if period.meters:
        header = ("meter", "events", "quantity", "quantity invoiced", "amount", "amount invoiced", "difference")
        yield from _table(header, [_meter(meter) for meter in period.meters])
    else:
        yield "No usage counts in it."
    if waiting := period.waiting:
        yield "No invoice has this usage yet:" if period.sequences else "The period has not closed. It has so far:"
        yield from _table(
            ("meter", "events", "quantity", "amount"),
            [
                (meter.meter, str(meter.waiting.events), *_texts(meter.waiting.quantity, meter.waiting.amount))
                for meter in waiting
            ],
        )
    if period.invoices:
        columns = ("invoice", "sequence", "status", "amount", "recounted", "offsets")
        yield from _table(columns, [_invoice(invoice) for invoice in period.invoices])
    yield from _disagreements("Disagreements:", period.disagreements)


def _meter(meter: MeterRecount) -> Sequence[str]:
    recounted, invoiced = meter.recounted, meter.invoiced
    quantity, amount = _texts(recounted.quantity, recounted.amount)
    if invoiced is None:
        return meter.meter, str(recounted.events), quantity, "by hand", amount, "by hand", "-"
    quantities, amounts = _texts(invoiced.quantity, invoiced.amount)
    return meter.meter, str(recounted.events), quantity, quantities, amount, amounts, *_texts(meter.difference.amount)


def _invoice(invoice: InvoiceRecount) -> Sequence[str]:
    offsets = "-" if invoice.first_offset is None else f"{invoice.first_offset} to {invoice.last_offset}"
    missing = "to be written" if invoice.id is None else "missing"
    return (
        invoice.id or "-",
        "by hand" if invoice.sequence is None else str(invoice.sequence),
        missing if invoice.status is None else invoice.status,
        "-" if invoice.amount is None else f"{invoice.amount:.6f}",
        "as asked" if invoice.recounted is None else f"{invoice.recounted:.6f}",
        offsets,
    )


def _disagreements(title: str, disagreements: Sequence[Disagreement]) -> Iterator[str]:
    if disagreements:
        yield title
    for one in disagreements:
        place = {"id": one.id, "partition": one.partition, "offset": one.offset}
        yield f"{GAP}{one.what} " + ", ".join(f"{name} {value}" for name, value in place.items() if value is not None)
        if one.expected is not None or one.found is not None:
            yield f"{GAP}{GAP}expected {_shown(one.expected)}, found {_shown(one.found)}"


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _texts(*decimals: Decimal) -> Sequence[str]:
    return [f"{decimal:.6f}" for decimal in decimals]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield GAP + GAP.join(cells)
