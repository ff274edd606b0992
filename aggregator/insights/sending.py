"""Sends webhooks to their receiver, at least once each."""

import asyncio
import logging
import random
import time
from typing import Final

import asyncpg
import httpx

from aggregator.insights import metrics
from aggregator.insights.deliveries import Delivery, Failure, claim, mark, tidy, turn_off, turn_on
from aggregator.insights.signing import signed_headers
from aggregator.rules.retrying import JITTER_RANGE, delay_ms
from aggregator.settings import InsightsSettings
from aggregator.stream.database import connected
from aggregator.stream.supervision import Availability, keep_running, pause
from schemas.topics import KIB

log = logging.getLogger(__name__)

ROLE: Final = "tally_insights"
LOOK_SECONDS: Final = 1.0
TIDY_SECONDS: Final = 5.0
TIDY_RESTS: Final = 20
"""Counting takes about a second a million webhooks: it is not to hold up their sending for more than a twentieth."""
SPARE_SECONDS: Final = 5
"""A claim outlasts the attempt by so much, to be marked in."""
ANSWER_BYTES_MAX: Final = 64 * KIB
"""Nobody reads what a receiver answers. So much of it is taken so that the connection can be used again; one that sends
more is hung up on."""


class Sender:
    """Sends what is due, a few at a time, in no order that anybody may count on."""

    def __init__(self, settings: InsightsSettings) -> None:
        self._settings = settings
        # A round is as long as the slowest answer may take.
        patience = settings.stalled_seconds + settings.webhook_timeout_seconds
        self.availability = Availability("sender of webhooks", metrics.WEBHOOKS_UP, patience)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set. An attempt that is cut off then is made again by the next process."""
        await keep_running(lambda: self._session(stop), self.availability, "sender of webhooks", stop)

    async def _session(self, stop: asyncio.Event) -> None:
        async with connected(self._settings.database_url, ROLE) as connection:
            if not self._settings.webhook_url:
                await turn_off(connection)
                await self._stay_off(stop)
                return
            await turn_on(connection)
            limits = httpx.Limits(max_connections=self._settings.webhook_parallel)
            async with httpx.AsyncClient(timeout=self._settings.webhook_timeout_seconds, limits=limits) as client:
                await self._send_until_stopped(connection, client, stop)

    async def _stay_off(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.availability.answering()
            await pause(stop, LOOK_SECONDS)

    async def _send_until_stopped(
        self, connection: asyncpg.Connection, client: httpx.AsyncClient, stop: asyncio.Event
    ) -> None:
        tidy_at = 0.0
        while not stop.is_set():
            sent = await self.send_due(connection, client)
            if (began := time.monotonic()) >= tidy_at:
                await tidy(connection)
                ended = time.monotonic()
                tidy_at = ended + max(TIDY_SECONDS, TIDY_RESTS * (ended - began))
            self.availability.answering()
            if not sent:
                await pause(stop, LOOK_SECONDS)

    async def send_due(self, connection: asyncpg.Connection, client: httpx.AsyncClient) -> int:
        """Send some of what is due; returns how many that were.

        1. Claim them, and with that the attempt is counted.
        2. Send them. Killed here, or before 3 is through, the receiver gets them again under the same id once the claim
           is over.
        3. Keep which of them the receiver took, and when to try the others again.
        """
        timeout = self._settings.webhook_timeout_seconds
        deliveries = await claim(connection, self._settings.webhook_parallel, timeout + SPARE_SECONDS)
        errors = await asyncio.gather(*(self._attempt(client, delivery) for delivery in deliveries))
        delivered = [delivery.id for delivery, error in zip(deliveries, errors, strict=True) if error is None]
        failures = [
            Failure(delivery.id, delay_ms(delivery.attempts, random.randrange(JITTER_RANGE)), error)  # noqa: S311
            for delivery, error in zip(deliveries, errors, strict=True)
            if error is not None
        ]
        await mark(connection, delivered, failures)
        self._report(len(delivered), failures)
        return len(deliveries)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> str | None:
        """Post it; returns why that failed, None where the receiver has taken it. The attempt as a whole is given its
        time, however slowly its bytes come."""
        if delivery.body is None:
            return "its invoice is no longer in the table invoices"
        settings = self._settings
        headers = {
            "content-type": "application/json",
            "user-agent": "Tally",
            **signed_headers(settings.webhook_keys, delivery.id, time.time_ns() // 1_000_000, delivery.body),
        }
        try:
            async with asyncio.timeout(settings.webhook_timeout_seconds):
                status = await _post(client, settings.webhook_url, delivery.body, headers)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {settings.webhook_timeout_seconds} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return None if httpx.codes.is_success(status) else f"answered with status {status}"

    @staticmethod
    def _report(delivered: int, failures: list[Failure]) -> None:
        metrics.ATTEMPTS.labels("delivered").inc(delivered)
        for failure in failures:
            metrics.ATTEMPTS.labels("parked" if failure.delay_ms is None else "failed").inc()
            if failure.delay_ms is None:
                log.error("The webhook %s was given up (%s); see webhook_deliveries.", failure.id, failure.error)
        if failures:
            log.warning("%d of %d webhooks failed: %s", len(failures), len(failures) + delivered, failures[0].error)


async def _post(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer. A redirect is an answer, too: what is signed goes nowhere but to `url`."""
    async with client.stream("POST", url, content=body, headers=headers, follow_redirects=False) as response:
        taken = 0
        async for chunk in response.aiter_raw():
            taken += len(chunk)
            if taken > ANSWER_BYTES_MAX:
                break
    return response.status_code
