"""What becomes of an invoice over HTTP: its status, and what a draft is for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.timestamps import timestamp_text
from tests.integration.catalog_world import set_up
from tests.integration.invoices_world import INVOICE, after_waiting_for_sub, close_period, insert_invoice
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


def summary(answer: Any) -> tuple[int, str | None, str | None]:
    document = answer.json()
    return answer.status_code, document.get("code"), document.get("currentStatus")


REFUSED = "invalid_transition"

PATHS: list[tuple[str, list[str], int, str]] = [
    ("DRAFT", ["open"], 200, "OPEN"),
    ("DRAFT", ["open", "pay"], 200, "PAID"),
    ("DRAFT", ["open", "void"], 200, "VOID"),
    ("DRAFT", ["open", "expire"], 200, "EXPIRED"),
    ("DRAFT", ["void"], 200, "VOID"),
    ("DRAFT", ["pay"], 409, "DRAFT"),
    ("DRAFT", ["expire"], 409, "DRAFT"),
    ("OPEN", ["open"], 200, "OPEN"),
    ("OPEN", ["pay", "pay"], 200, "PAID"),
    ("OPEN", ["void", "void"], 200, "VOID"),
    ("OPEN", ["expire", "expire"], 200, "EXPIRED"),
    *[("OPEN", ["pay", action], 409, "PAID") for action in ("open", "void", "expire")],
    *[("OPEN", ["void", action], 409, "VOID") for action in ("open", "pay", "expire")],
    *[("OPEN", ["expire", action], 409, "EXPIRED") for action in ("open", "pay", "void")],
]


async def test_statuses_change_as_the_contract_says(gateway: RunningGateway) -> None:
    await set_up(gateway)
    for number, (first, actions, status, left) in enumerate(PATHS):
        created = {**INVOICE, "id": f"inv_{number}", "status": first, "periodStart": None, "periodEnd": None}
        assert (await gateway.post("/invoices", created)).status_code == 201
        for action in actions:
            answer = await gateway.post(f"/invoices/inv_{number}/{action}", {})
        found = (await gateway.get(f"/invoices/inv_{number}")).json()
        case = (first, actions)
        if status == 200:
            assert (answer.status_code, answer.json()) == (200, found), case
        else:
            assert summary(answer) == (409, REFUSED, left), case
        assert found["invoice"]["status"] == left, case
        assert (found["invoice"]["paidAt"] is None) == (left != "PAID"), case


async def test_each_change_of_status_is_published_with_all_before_it_and_a_repeat_is_not(
    gateway: RunningGateway,
) -> None:
    await set_up(gateway)
    await gateway.post("/invoices", INVOICE)
    for action in ("open", "open", "pay", "pay", "void"):
        await gateway.post(f"/invoices/inv/{action}", {})
    published = [(entry, at) for key, entry, at in await gateway.catalog() if key == "invoice/inv"]
    times = [timestamp_text(at) for _, at in published]
    assert [entry["version"] for entry, _ in published] == [1, 2, 3]
    assert published[-1][0] == {
        "id": "inv",
        "serviceId": "svc",
        "userId": "user",
        "version": 3,
        "transitions": [
            {"version": 1, "status": "DRAFT", "at": times[0]},
            {"version": 2, "status": "OPEN", "at": times[1]},
            {"version": 3, "status": "PAID", "at": None},
        ],
    }


async def test_invoice_that_the_closer_wrote_changes_its_status_and_nothing_else(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await close_period(gateway, "closed", month=1)
    refused = await gateway.patch("/invoices/closed", {"amount": 5})
    assert summary(refused) == (409, REFUSED, "OPEN")
    paid = await gateway.post("/invoices/closed/pay", {})
    assert (paid.json()["invoice"]["status"], paid.json()["invoice"]["source"]) == ("PAID", "CLOSER")
    published = [(entry, at) for key, entry, at in await gateway.catalog() if key == "invoice/closed"]
    assert [entry["version"] for entry, _ in published] == [1, 2]  # the closer's own was waiting, and goes first
    assert published[1][0]["transitions"] == [
        {"version": 1, "status": "OPEN", "at": timestamp_text(published[0][1])},
        {"version": 2, "status": "PAID", "at": None},
    ]


async def test_credit_cannot_be_paid_and_can_be_voided(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await close_period(gateway, "credit", month=1, amount=-1)
    await close_period(gateway, "nothing", month=2, amount=0)
    assert summary(await gateway.post("/invoices/credit/pay", {})) == (409, REFUSED, "OPEN")
    assert (await gateway.post("/invoices/credit/void", {})).json()["invoice"]["status"] == "VOID"
    assert (await gateway.post("/invoices/nothing/pay", {})).json()["invoice"]["status"] == "PAID"


async def test_invoice_that_was_put_into_the_database_by_hand_can_be_paid(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await insert_invoice(gateway, "mended", month=1)
    assert (await gateway.post("/invoices/mended/pay", {})).json()["invoice"]["status"] == "PAID"


async def test_of_two_changes_at_once_one_happens(gateway: RunningGateway) -> None:
    """Whoever comes second has the status that the first left, and its history."""
    await set_up(gateway)
    for number in range(5):
        created = {**INVOICE, "id": f"inv_{number}", "status": "OPEN", "periodStart": None, "periodEnd": None}
        await gateway.post("/invoices", created)
        answers = await asyncio.gather(
            *(gateway.post(f"/invoices/inv_{number}/{action}", {}) for action in ("pay", "void", "expire"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
        published = [entry for key, entry, _ in await gateway.catalog() if key == f"invoice/inv_{number}"]
        assert [entry["version"] for entry in published] == [1, 2]


PATCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"amount": 5}, {"amount": "5.000000"}),
    ({"dueAt": "2026-03-01T00:00:00Z"}, {"dueAt": "2026-03-01T00:00:00.000Z"}),
    ({"dueAt": None}, {"dueAt": None}),
    ({"periodEnd": "2026-01-15T00:00:00Z"}, {"periodEnd": "2026-01-15T00:00:00.000Z"}),
    ({"periodStart": None, "periodEnd": None}, {"periodStart": None, "periodEnd": None}),
    (
        {"periodStart": "2026-07-01T00:00:00Z", "periodEnd": "2026-08-01T00:00:00Z"},
        {"periodStart": "2026-07-01T00:00:00.000Z", "periodEnd": "2026-08-01T00:00:00.000Z"},
    ),
    ({"status": "PAID", "userId": "user_2", "currency": 5, "id": None}, {}),  # unknown here, and ignored
]

BAD_PATCHES: list[tuple[dict[str, Any], int, str, str]] = [
    ({"amount": None}, 400, "field_required", "amount"),
    ({"amount": "-1"}, 400, "decimal_negative", "amount"),
    ({"amount": "x", "dueAt": "y"}, 400, "decimal_invalid", "amount"),
    ({"dueAt": "y"}, 400, "timestamp_invalid", "dueAt"),
    ({"periodEnd": None}, 400, "field_invalid", "periodEnd"),
    ({"periodStart": None}, 400, "field_invalid", "periodEnd"),
    ({"periodEnd": "2026-01-01T00:00:00Z"}, 400, "field_invalid", "periodEnd"),
    ({"periodEnd": "2026-02-01T00:00:00.001Z"}, 409, "period_already_invoiced", "periodStart"),
]


async def test_draft_changes_as_it_is_asked(gateway: RunningGateway) -> None:
    await set_up(gateway)
    for number, (change, expected) in enumerate(PATCHES):
        invoice_id = f"inv_{number}"
        draft = {**INVOICE, "id": invoice_id, "dueAt": "2026-02-10T00:00:00Z"}
        before = (await gateway.post("/invoices", draft)).json()["invoice"]
        answer = await gateway.patch(f"/invoices/{invoice_id}", change)
        assert answer.status_code == 200, change
        assert answer.json() == (await gateway.get(f"/invoices/{invoice_id}")).json()
        changed = answer.json()["invoice"]
        assert (changed["updatedAt"] > before["updatedAt"]) == bool(expected)
        assert {**changed, "updatedAt": None} == {**before, "updatedAt": None, **expected}, change
        await gateway.post(f"/invoices/{invoice_id}/void", {})


async def test_change_of_a_draft_is_refused_where_it_makes_no_invoice(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await gateway.post("/invoices", INVOICE)
    february = {"id": "next", "periodStart": INVOICE["periodEnd"], "periodEnd": "2026-03-01T00:00:00Z"}
    await gateway.post("/invoices", {**INVOICE, **february})
    for change, *expected in BAD_PATCHES:
        answer = await gateway.patch("/invoices/inv", change)
        assert [answer.status_code, answer.json()["code"], answer.json()["field"]] == expected, change
    unknown = await gateway.patch("/invoices/none", {"amount": 5})
    assert summary(unknown) == (404, "invoice_not_found", None)
    await gateway.post("/invoices/next/void", {})
    assert (await gateway.patch("/invoices/inv", {"periodEnd": "2026-02-02T00:00:00Z"})).status_code == 200
    for action, status in (("open", "OPEN"), ("void", "VOID")):
        await gateway.post(f"/invoices/inv/{action}", {})
        assert summary(await gateway.patch("/invoices/inv", {"amount": 5})) == (409, REFUSED, status)


async def test_of_drafts_that_move_to_one_period_at_once_one_gets_it(gateway: RunningGateway) -> None:
    await set_up(gateway)
    for number in range(4):
        span = {"periodStart": f"2025-0{number + 1}-01T00:00:00Z", "periodEnd": f"2025-0{number + 2}-01T00:00:00Z"}
        await gateway.post("/invoices", {**INVOICE, **span, "id": f"inv_{number}"})
    period = {"periodStart": INVOICE["periodStart"], "periodEnd": INVOICE["periodEnd"]}
    answers = await after_waiting_for_sub(
        gateway,
        gateway.post("/invoices", {**INVOICE, "id": "new"}),
        *(gateway.patch(f"/invoices/inv_{number}", period) for number in range(4)),
    )
    assert sum(answer.status_code == 409 for answer in answers) == 4
    assert {answer.json().get("code") for answer in answers} == {None, "period_already_invoiced"}
