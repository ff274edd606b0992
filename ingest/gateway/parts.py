"""What the routes work with; gateway.serve makes it once."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from ingest.catalog.change import Changes
from ingest.catalog.outbox import Outbox
from ingest.database import Database
from ingest.gateway.readiness import Readiness
from ingest.gateway.status.look import Status
from ingest.gateway.usage import UsageEvents
from ingest.gateway.usage_records import UsageRecords
from ingest.gateway.verdicts import Verdicts
from ingest.gateway.voiding import Voids
from ingest.producer import UsageProducer


@dataclass(slots=True, frozen=True)
class Parts:
    """The gateway's parts."""

    database: Database
    outbox: Outbox
    changes: Changes
    producer: UsageProducer
    usage: UsageEvents
    usage_records: UsageRecords
    voids: Voids
    verdicts: Verdicts
    status: Status
    readiness: Readiness
    body_seconds: float


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]
