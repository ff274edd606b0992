"""`tally demo`."""

import argparse
import sys

from deploy import month
from deploy.commands import up
from deploy.local.stack import Stack
from deploy.progress import Progress
from deploy.sending import Api, send_by_http, send_by_kafka
from deploy.settling import invoice_table, wait_until_invoiced
from deploy.target import Target, announced

SEED = 2026
REQUESTS = 6_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Run everything on this machine, send a seeded month of usage of an AI API (half by HTTP, half straight to"
        " Kafka), and show the invoices. On a terminal it then goes on running until Ctrl-C."
    )
    up.arguments(parser)
    parser.set_defaults(http_port=0, kafka_port=0, postgres_port=0)
    parser.add_argument(
        "--stay",
        action=argparse.BooleanOptionalAction,
        help="go on running after the invoices (default: on a terminal)",
    )


async def main(arguments: argparse.Namespace) -> int:
    """Up, a month of usage, the invoices, and where to look."""
    return await up.until_stopped(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    options = up.options_of(arguments)
    stay = sys.stdout.isatty() if arguments.stay is None else arguments.stay
    async with Stack(options, up.say) as stack, announced(stack, options.data):
        target = Target.of_ready_line(stack.ready_line())
        events = await _send_month(target)
        ids = [subscription["id"] for subscription in month.subscriptions()]
        await wait_until_invoiced(target.database_url, ids, events)
        print(await invoice_table(target.database_url, ids))
        print(_where_to_look(target, stack, running=stay, data=str(arguments.data)))
        if stay:
            await up.stay()


async def _send_month(target: Target) -> int:
    events = list(month.usage(SEED, REQUESTS))
    progress = Progress("events sent", len(events))
    async with Api(target) as api:
        await month.create_catalog(api)
        await send_by_http(api, events[0::2], progress.add)
        await send_by_kafka(target, events[1::2], progress.add)
    progress.finish()
    return len(events)


def _where_to_look(target: Target, stack: Stack, *, running: bool, data: str) -> str:
    if not running:
        return f"All of it is kept in {data}: 'tally up --data {data}' starts it again."
    metrics = "\n".join(f"            {name:<12} {url}" for name, url in stack.metrics.items())
    return f"""
API         {target.http}/docs   (Authorization: Bearer {target.api_key})
Status      {target.http}/status
Kafka       {target.kafka}
Postgres    psql '{target.database_url}' -c 'TABLE invoices'
Metrics
{metrics}
Logs        {data}/logs
Ctrl-C stops all of it; 'tally up --data {data}' starts it again on the same data."""
