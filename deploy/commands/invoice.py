"""`tally invoice ID`: an invoice as a statement, from its amount down to the log."""

import argparse
import json
from urllib.parse import quote

from deploy.calling import add_caller_flags, caller_of
from deploy.statement import statement


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Print an invoice with what each line was charged by, and where its events are in the log. Uses the Tally that"
        " runs on the data directory, unless --url names one."
    )
    parser.add_argument("id", help="of the invoice")
    parser.add_argument("--json", action="store_true", help="print it as the gateway has it, in JSON")
    add_caller_flags(parser, "scope read")


async def main(arguments: argparse.Namespace) -> None:
    """Print it. Raises CallFailed."""
    async with caller_of(arguments) as caller:
        invoice = (await caller.get(f"/invoices/{quote(arguments.id, safe='')}"))["invoice"]
    if arguments.json:
        print(json.dumps(invoice, indent=2, ensure_ascii=False))
    else:
        print(statement(invoice))
