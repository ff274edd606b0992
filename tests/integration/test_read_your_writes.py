"""What was answered over HTTP holds for the next usage event, and for none before it: a real gateway and a real
worker, which meet on Kafka alone."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aggregator.closer.job import Closer
from aggregator.settings import CloserSettings
from schemas.invoice import closer_invoice_id
from schemas.timestamps import parse_timestamp
from schemas.topics import Topic
from tests.integration.catalog_world import SUBSCRIPTION, set_up
from tests.integration.invoices_world import INVOICE
from tests.integration.running_gateway import RunningGateway, running_gateway, until
from tests.integration.stream_world import working
from tests.integration.worker import Deployment, deployment

OPEN = {**INVOICE, "status": "OPEN", "periodStart": None, "periodEnd": None}


@dataclass
class Both:
    """A gateway and a deployment without a worker; `expected` is what is to become of each event that was sent."""

    gateway: RunningGateway
    tally: Deployment
    expected: dict[str, str] = field(default_factory=dict)

    async def change(self, path: str, body: dict[str, Any], method: str = "POST") -> None:
        """Ask the gateway for a change, which it must make."""
        send = self.gateway.patch if method == "PATCH" else self.gateway.post
        answer = await send(path, body)
        assert answer.status_code in {200, 201}, answer.text

    async def send(self, verdict: str, **fields: Any) -> None:
        """Append a usage event of `sub`, with the verdict that it must get."""
        key = f"tokens#{len(self.expected)}"
        self.expected[key] = verdict
        ids = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user"}
        await self.tally.put_event(**{**ids, "eventKey": key, "quantity": 1, **fields})

    async def verdicts(self) -> dict[str, str]:
        """What became of each event, once all are decided."""
        await self.tally.decided(len(self.expected))
        found = {json.loads(r.value)["eventKey"]: "accepted" for r in await self.tally.records(Topic.ACCEPTED_USAGE)}
        for record in await self.tally.records(Topic.REJECTED_USAGE):
            found[json.loads(record.value)["eventKey"]] = dict(record.headers)["reject-code"].decode()
        return found


@pytest.fixture
async def both(kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Both]:
    async with (
        deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as tally,
        running_gateway(kafka_bootstrap, database_url, topic_prefix) as gateway,
    ):
        await set_up(gateway)
        yield Both(gateway, tally)


async def test_next_event_is_judged_by_what_was_answered(both: Both) -> None:
    async with both.tally.worker():
        await both.send("invoice_not_found", invoiceId="draft")
        await both.tally.decided(1)  # the worker has looked for it, and remembers that there was none
        await both.change("/invoices", {**INVOICE, "id": "draft"})
        await both.send("accepted", invoiceId="draft")
        await both.change("/invoices/draft", {"amount": 3}, "PATCH")
        await both.change("/invoices/draft/open", {})
        await both.send("accepted", invoiceId="draft")
        await both.change("/invoices/draft/pay", {})
        await both.send("invoice_closed", invoiceId="draft")
        for action in ("void", "expire"):
            await both.change("/invoices", {**OPEN, "id": action})
            await both.send("accepted", invoiceId=action)
            await both.change(f"/invoices/{action}/{action}", {})
            await both.send("invoice_closed", invoiceId=action)
        await both.change("/subscriptions", {**SUBSCRIPTION, "id": "sub_2"})
        await both.change("/invoices", {**OPEN, "id": "second", "subscriptionId": "sub_2"})
        await both.send("accepted", invoiceId="second")  # another subscription's, of the same user
        await both.change("/invoices", {**OPEN, "id": "theirs", "subscriptionId": None, "userId": "user_2"})
        await both.send("invoice_mismatch", invoiceId="theirs")

        await both.change("/services/svc", {"maxEventAgeSeconds": 86_400}, "PATCH")
        await both.send("occurred_at_too_old", occurredAt="2020-01-01T00:00:00Z")
        await both.tally.decided(len(both.expected))  # a change of the age reaches what is not decided yet
        await both.change("/services/svc", {"maxEventAgeSeconds": None}, "PATCH")
        await both.send("accepted", occurredAt="2020-01-01T00:00:00Z")
        assert await both.verdicts() == both.expected


async def test_event_appended_before_the_payment_counts_though_it_is_read_after_it(both: Both) -> None:
    await both.change("/invoices", {**OPEN, "id": "paid"})
    async with both.tally.worker():
        await both.send("accepted", invoiceId="paid")
        await both.tally.decided(1)
    await both.send("accepted", invoiceId="paid")
    await both.change("/invoices/paid/pay", {})
    await both.send("invoice_closed", invoiceId="paid")
    async with both.tally.worker():
        assert await both.verdicts() == both.expected


async def test_an_invoice_of_the_closer_can_be_linked_once_it_is_shown(both: Both) -> None:
    settings = {**both.tally.settings.model_dump(), "database_url": both.gateway.settings.database_url}
    closer = Closer(CloserSettings.model_validate(settings))
    begun = {"billingAnchor": "2026-01-01T00:00:00Z"}
    async with both.tally.worker(), working(closer.run):
        for number in range(2):
            subscription = f"old_{number}"
            await both.change("/subscriptions", {**SUBSCRIPTION, "id": subscription, **begun})
            await both.send("accepted", subscriptionId=subscription, occurredAt="2026-01-15T00:00:00Z")
            invoice_id = closer_invoice_id(subscription, parse_timestamp("2026-01-01T00:00:00Z"), 0)

            async def is_shown(invoice_id: str = invoice_id) -> bool:
                return (await both.gateway.get(f"/invoices/{invoice_id}")).status_code == 200

            await until(is_shown)
            await both.send("accepted", invoiceId=invoice_id)
            await both.change(f"/invoices/{invoice_id}/pay", {})
            await both.send("invoice_closed", invoiceId=invoice_id)
        assert await both.verdicts() == both.expected
