"""What must not happen, and does: a request that fails is logged with its id, and answered."""

import logging
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.gateway.answer import refusal
from ingest.gateway.tracing import log_fields
from schemas.rejection import Reason, Rejection

logger = logging.getLogger(__name__)

FAILED: Final = Rejection(
    Reason.PROCESSING_FAILED, "Tally failed to answer this request, which is no fault of yours; report the requestId."
)


STATUS: Final = "status"
"""Where gateway.measured notes in the state of a request how it is being answered."""


class Failures:
    """Answers for the application within where that raises; gateway.measured is around it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            request_id = scope["state"].get("request_id", "")
            fields = log_fields(scope["headers"], request_id)
            logger.exception("a request failed, which is a defect of Tally", extra=fields)
            # Where it is being answered, the server closes the connection, and nobody takes it for a whole answer.
            if STATUS not in scope["state"]:
                await refusal(FAILED, request_id).send(scope, send)
