"""`tally replay TRACE.csv`."""

import argparse
import asyncio
from pathlib import Path

from deploy import trace
from deploy.commands import up
from deploy.progress import Progress
from deploy.sending import Api, send_by_http, send_by_kafka
from deploy.settling import invoice_table, wait_until_invoiced
from deploy.target import Target, target_of

EVENTS_A_REQUEST = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Replay a trace of LLM requests (CSV: TIMESTAMP, ContextTokens, GeneratedTokens) as three usage events a"
        " request, one hour stretched over three months, and wait for the invoices. Uses the Tally that runs on the"
        " data directory, or runs one meanwhile."
    )
    parser.add_argument("trace", type=Path, help="the CSV file")
    parser.add_argument("--via", choices=["http", "kafka", "mixed"], default="mixed", help="how it is sent (mixed)")
    up.arguments(parser)
    parser.set_defaults(http_port=0, kafka_port=0, postgres_port=0)


async def main(arguments: argparse.Namespace) -> int:
    """Replay and print the invoices."""
    return await up.until_stopped(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    requests = trace.read_trace(arguments.trace)
    async with target_of(up.options_of(arguments), up.say) as target:
        ids = await replay(target, requests, arguments.via)
        await wait_until_invoiced(target.database_url, ids, len(requests) * EVENTS_A_REQUEST)
        print(await invoice_table(target.database_url, ids))


async def replay(target: Target, requests: list[trace.Request], via: str) -> list[str]:
    """Create the catalog and send all usage; returns the ids of the subscriptions."""
    subscriptions = trace.subscriptions()
    by_http = [r for r in requests if via == "http" or (via == "mixed" and r.number % 2 == 0)]
    by_kafka = [r for r in requests if via == "kafka" or (via == "mixed" and r.number % 2 == 1)]
    progress = Progress("events sent", len(requests) * EVENTS_A_REQUEST)
    async with Api(target) as api:
        await api.create("/services", [trace.SERVICE])
        await api.create("/plans", [trace.PLAN])
        await api.create("/subscriptions", subscriptions)
        async with asyncio.TaskGroup() as group:
            events = (event for request in by_http for event in request.events())
            group.create_task(send_by_http(api, events, progress.add))
            events = (event for request in by_kafka for event in request.events())
            group.create_task(send_by_kafka(target, events, progress.add))
    progress.finish()
    return [subscription["id"] for subscription in subscriptions]
