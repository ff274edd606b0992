"""A gateway that publishes nothing and acknowledges at once: what its handler costs without Kafka, to compare with.

All that a request passes is the gateway's own, up to the producer. It is started by the benchmark alone, as
`python -m deploy.bench.unpublished`; no setting of a gateway leads here.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.eventloop import new_event_loop
from deploy.flags import checked_settings
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import Command, started
from deploy.local.stack import Stack, answers
from deploy.metrics import introduce
from deploy.watchdog import watched
from ingest.gateway.serve import run
from ingest.lane import Headers
from ingest.outcome import Outcome, Receipt
from ingest.producer import UsageProducer
from ingest.settings import GatewaySettings
from schemas.usage_event import UsageEvent


@asynccontextmanager
async def unpublished(stack: Stack, data: Path) -> AsyncIterator[tuple[str, int]]:
    """URL and process id of such a gateway on the servers of a stack, until the block ends."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    environment = {
        **os.environ,
        "TALLY_KAFKA": stack.kafka,
        "TALLY_DATABASE_URL": stack.database_url,
        "TALLY_HTTP_PORT": str(port),
    }

    async def ready() -> bool:
        return await answers(f"{url}/health/ready")

    process = await started(
        Command(
            name="unpublished",
            argv=(sys.executable, "-m", "deploy.bench.unpublished"),
            env=environment,
            log=data / "logs" / "unpublished.log",
            ready=ready,
        )
    )
    try:
        yield url, process.pid
    finally:
        await process.stop()


class ReceiptsAtOnce(UsageProducer):
    """Gives a receipt for whatever it is handed. It connects as any other, and sends nothing."""

    async def publish_many(
        self, events: Iterable[UsageEvent | Mapping[str, Any]], headers: Sequence[Headers] = ()
    ) -> list[Outcome]:
        """A receipt for each, of no place in particular."""
        return [Receipt(0, number) for number, _ in enumerate(events)]


async def main() -> None:
    """Serve as `tally gateway` does, with its settings, until SIGTERM."""
    settings = checked_settings(GatewaySettings)
    introduce("gateway")
    with watched(settings.watchdog_seconds):
        await run(settings, lambda of: ReceiptsAtOnce(of.kafka, topic_prefix=of.topic_prefix))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
