"""From an amount down to the log, with everything real: an invoice, its adjustment, and the credit of what was voided,
over HTTP and as `tally invoice` prints them."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aggregator.closer.job import Closer
from aggregator.settings import CloserSettings
from deploy.statement import statement
from schemas.invoice import closer_invoice_id
from schemas.timestamps import parse_timestamp
from schemas.topics import Topic
from tests.integration.deciding_world import DecidingWorld, deciding
from tests.integration.running_gateway import until
from tests.integration.stream_world import working

JANUARY = "2026-01-01T00:00:00.000Z"
TIERS = [{"upTo": 100, "unitPrice": "0.5"}, {"upTo": None, "unitPrice": "0.1", "flatAmount": "3"}]
PLAN: dict[str, Any] = {
    "id": "tiered",
    "serviceId": "svc",
    "name": "Tiered",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "prices": {"calls": {"model": "GRADUATED", "included": 10, "tiers": TIERS}},
}
SUBSCRIPTION = {
    "id": "sub_t", "serviceId": "svc", "paymentPlanId": "tiered", "userId": "user", "billingAnchor": JANUARY,
}  # fmt: skip


class Statements(DecidingWorld):
    """A world that invoices the usage of `sub_t` in January as soon as it is recorded."""

    async def record(self, key: str, quantity: int) -> str:
        """The id of an event that is accepted."""
        fields = {"subscriptionId": "sub_t", "occurredAt": "2026-01-15T00:00:00Z"}
        answer = await self.send(eventKey=f"calls#{key}", quantity=quantity, **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["usageEvent"]["id"])

    async def invoice(self, sequence: int) -> dict[str, Any]:
        """The invoice of a sequence, once it is there and its events are."""
        invoice_id = closer_invoice_id("sub_t", parse_timestamp(JANUARY), sequence)
        found: dict[str, Any] = {}

        async def is_shown() -> bool:
            answer = await self.gateway.get(f"/invoices/{invoice_id}")
            found.update(answer.json().get("invoice", {}))
            return answer.status_code == 200 and (bool(found["events"]) or sequence == 2)

        await until(is_shown)
        return found

    async def print_invoice(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, output and errors of `tally invoice`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "invoice", *arguments, "--url", self.gateway.url),
            env={**os.environ, "TALLY_API_KEY": self.gateway.key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()


@pytest.fixture
async def world(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Statements]:
    patience = {"answer_seconds": 30}  # so much runs at once that a small machine takes its time
    async with deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path, **patience) as opened:
        statements = Statements(opened.gateway, opened.tally)
        settings = {**opened.tally.settings.model_dump(), "database_url": database_url}
        closer = Closer(CloserSettings.model_validate(settings))
        for path, body in (("/plans", PLAN), ("/subscriptions", SUBSCRIPTION)):
            assert (await opened.gateway.post(path, body)).status_code == 201
        async with opened.tally.worker(), statements.projecting(), working(closer.run):
            await statements.can_wait()
            yield statements


async def test_an_auditor_walks_from_an_amount_to_the_events(world: Statements) -> None:
    first = await world.record("1", 60)
    regular = await world.invoice(0)
    assert regular["amount"] == "25.000000"  # 50 of 60 to pay for, x 0.5
    late = await world.record("2", 70)
    adjusted = await world.invoice(1)
    assert adjusted["amount"] == "30.000000"  # of 120 to pay for, 100 x 0.5 + 20 x 0.1 + 3 = 55; less 25
    assert (await world.post(f"/usage-events/{late}/void", {"reason": "a mistake"})).status_code == 200
    credit = await world.invoice(2)
    assert (credit["amount"], credit["status"]) == ("-30.000000", "OPEN")  # 25, less 55
    assert credit["lines"][0]["chargedBefore"] == {"quantity": "130.000000", "eventCount": 2, "amount": "55.000000"}

    # A credit owes nobody anything, and no sequence changes what was written before it.
    refused = await world.gateway.post(f"/invoices/{credit['id']}/pay", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    voided = await world.gateway.post(f"/invoices/{credit['id']}/void", {})
    assert (voided.status_code, voided.json()["invoice"]["status"]) == (200, "VOID")
    for sequence, before in enumerate((regular, adjusted)):
        assert {**await world.invoice(sequence), "events": None} == {**before, "events": None}

    # Down to the events, and to the record that the amount was made from.
    assert [event["id"] for event in regular["events"]] == [first]
    listed = await world.gateway.get("/usage-events", invoiceId=adjusted["id"])
    assert [event["id"] for event in listed.json()["usageEvents"]] == [late]
    for invoice, event_id in ((regular, first), (adjusted, late)):
        place = f"ue_{invoice['logPartition']}_{invoice['firstOffset']}"
        assert (place, invoice["firstOffset"]) == (event_id, invoice["lastOffset"])
    records = [record.value for record in await world.tally.records(Topic.CLOSED_PERIODS)]
    assert [digest_as_documented(record) for record in records] == [
        invoice["digest"] for invoice in (regular, adjusted, credit)
    ]

    # As it is printed.
    code, printed, _ = await world.print_invoice(credit["id"], "--json")
    shown = json.loads(printed)
    assert (code, shown) == (0, (await world.gateway.get(f"/invoices/{credit['id']}")).json()["invoice"])
    code, printed, _ = await world.print_invoice(credit["id"])
    assert (code, printed) == (0, statement(shown) + "\n")
    assert printed.startswith(f"Credit note {credit['id']}, VOID\n")
    code, printed, errors = await world.print_invoice("none/such")
    assert (code, printed) == (1, "")
    assert errors.endswith("tally invoice: The gateway answered 404: There is no such invoice.\n")


def digest_as_documented(record: bytes) -> str:
    """What the program on the page for operators says."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (program,) = re.findall(r"```python\n(def digest_of.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    return str(names["digest_of"](record))
