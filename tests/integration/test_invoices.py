"""Invoices over HTTP: made, refused, and found again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.invoice import closer_invoice_id
from schemas.timestamps import parse_timestamp
from tests.integration.catalog_world import PLAN, set_up
from tests.integration.invoices_world import (
    INVOICE,
    after_waiting_for_sub,
    close_period,
    insert_invoice,
    insert_lines,
    project_events,
    set_up_two_services,
)
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


def summary(answer: Any) -> tuple[int, str | None, str | None]:
    document = answer.json()
    return answer.status_code, document.get("code"), document.get("field")


async def test_invoice_is_stored_as_it_is_asked_for_and_published(gateway: RunningGateway) -> None:
    await set_up(gateway)
    created = await gateway.post("/invoices", {**INVOICE, "dueAt": "2026-03-01T12:00:00+01:00"})
    assert (created.status_code, created.headers["location"]) == (201, "/api/v1/invoices/inv")
    shown = created.json()["invoice"]
    assert shown.pop("createdAt") == shown.pop("updatedAt")
    assert shown == {
        **INVOICE,
        "status": "DRAFT",
        "source": "MANUAL",
        "currency": "USDC",
        "sequence": None,
        **dict.fromkeys(("digest", "logPartition", "firstOffset", "lastOffset")),
        "dueAt": "2026-03-01T11:00:00.000Z",
        "paidAt": None,
        "lines": [],
        "events": [],
    }
    assert (await gateway.get("/invoices/inv")).json() == created.json()
    key, entry, _ = (await gateway.catalog())[-1]
    transitions = [{"version": 1, "status": "DRAFT", "at": None}]
    assert (key, entry) == (
        "invoice/inv",
        {"id": "inv", "serviceId": "svc", "userId": "user", "version": 1, "transitions": transitions},
    )


async def test_amount_is_stored_verbatim_whatever_usage_comes_to(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await project_events(gateway, 1, quantity=1000)
    least = {name: INVOICE[name] for name in ("serviceId", "paymentPlanId", "userId")}
    for amount, stored in (
        (0, "0.000000"),
        ("0.000001", "0.000001"),
        (12.3, "12.300000"),
        ("99999999999999.999999", "99999999999999.999999"),
    ):
        answer = await gateway.post("/invoices", {**least, "amount": amount, "status": "OPEN", "currency": "EUR"})
        invoice = answer.json()["invoice"]
        assert (invoice["amount"], invoice["status"], invoice["currency"]) == (stored, "OPEN", "EUR")
        assert invoice["id"].startswith("inv_")
        assert (invoice["subscriptionId"], invoice["periodStart"], invoice["periodEnd"]) == (None, None, None)


async def test_same_again_is_the_one_that_exists_whatever_became_of_it_and_other_content_is_refused(
    gateway: RunningGateway,
) -> None:
    await set_up(gateway)
    await gateway.post("/invoices", INVOICE)
    await close_period(gateway, "closed", month=5)
    await gateway.patch("/invoices/inv", {"amount": 5, "dueAt": "2026-03-01T00:00:00Z"})
    for action in ("open", "pay"):
        await gateway.post(f"/invoices/inv/{action}", {})
    before = await gateway.catalog()
    for same in ({}, {"amount": 12.345678}, {"currency": "USDC"}, {"status": "DRAFT", "dueAt": None}):
        again = await gateway.post("/invoices", {**INVOICE, **same})
        assert (again.status_code, again.json()["invoice"]["status"]) == (200, "PAID"), same
        assert again.json() == (await gateway.get("/invoices/inv")).json()
    for other in ({"amount": 5}, {"status": "OPEN"}, {"currency": "EUR"}, {"periodStart": None, "periodEnd": None}):
        refused = await gateway.post("/invoices", {**INVOICE, **other})
        assert summary(refused) == (409, "already_exists", "id"), other
    may = {"periodStart": "2026-05-01T00:00:00Z", "periodEnd": "2026-06-01T00:00:00Z"}
    refused = await gateway.post("/invoices", {**INVOICE, **may, "id": "closed", "amount": 1, "status": "OPEN"})
    assert summary(refused) == (409, "already_exists", "id")
    assert [entry for entry in await gateway.catalog() if entry[0] != "invoice/closed"] == [
        entry for entry in before if entry[0] != "invoice/closed"
    ]


REFUSALS: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"serviceId": "none"}, 404, "service_not_found", "serviceId"),
    ({"paymentPlanId": "none"}, 404, "plan_not_found", "paymentPlanId"),
    ({"subscriptionId": "none"}, 404, "subscription_not_found", "subscriptionId"),
    ({"paymentPlanId": "elsewhere"}, 400, "field_invalid", "paymentPlanId"),
    ({"subscriptionId": "theirs"}, 400, "subscription_mismatch", "subscriptionId"),
    ({"userId": "user_2"}, 400, "subscription_mismatch", "subscriptionId"),
    # What does not exist is said before what belongs to somebody else.
    ({"paymentPlanId": "elsewhere", "subscriptionId": "none"}, 404, "subscription_not_found", "subscriptionId"),
    ({"status": "PAID"}, 400, "invoice_paid_on_create", "status"),
    ({"status": "PAID", "serviceId": "none"}, 400, "invoice_paid_on_create", "status"),
    ({"status": "VOID"}, 400, "field_invalid", "status"),
    ({"amount": "-1"}, 400, "decimal_negative", "amount"),
    ({"amount": "1e14"}, 400, "decimal_out_of_range", "amount"),
    ({"amount": "0.0000001"}, 400, "decimal_too_precise", "amount"),
    ({"amount": None}, 400, "field_required", "amount"),
    ({"periodEnd": None}, 400, "field_invalid", "periodEnd"),
    ({"periodStart": None}, 400, "field_invalid", "periodEnd"),
    ({"periodEnd": INVOICE["periodStart"]}, 400, "field_invalid", "periodEnd"),
    ({"dueAt": "soon"}, 400, "timestamp_invalid", "dueAt"),
]


async def test_refusals(gateway: RunningGateway) -> None:
    await set_up_two_services(gateway)
    before = await gateway.catalog()
    for change, *expected in REFUSALS:
        answer = await gateway.post("/invoices", {**INVOICE, **change})
        assert summary(answer) == tuple(expected), change
    assert (await gateway.get("/invoices")).json()["invoices"] == []
    assert await gateway.catalog() == before


async def test_invoices_are_those_of_the_services_that_a_key_may_touch(gateway: RunningGateway) -> None:
    await set_up_two_services(gateway)
    await gateway.post("/invoices", INVOICE)
    _, theirs = await gateway.new_key(services=["other"])
    for path in ("/open", "/pay", "/void", "/expire"):
        answer = await gateway.post(f"/invoices/inv{path}", {}, theirs)
        assert summary(answer) == (404, "invoice_not_found", None)
    assert summary(await gateway.patch("/invoices/inv", {"amount": 1}, theirs)) == (404, "invoice_not_found", None)
    for change, code in (
        ({}, "service_not_found"),
        ({"serviceId": "other"}, "plan_not_found"),
        ({"serviceId": "other", "paymentPlanId": "elsewhere"}, "subscription_not_found"),
    ):
        answer = await gateway.post("/invoices", {**INVOICE, "id": "new", **change}, theirs)
        assert summary(answer)[:2] == (404, code)


async def test_period_is_taken_by_any_invoice_of_the_subscription_that_is_not_void(gateway: RunningGateway) -> None:
    await set_up_two_services(gateway)
    await gateway.post("/invoices", INVOICE)
    await gateway.post("/invoices", {**INVOICE, **_span("2026-04-01", "2026-05-01"), "id": "voided"})
    await gateway.post("/invoices/voided/void", {})
    await close_period(gateway, "closed", month=6)
    for start, end, status in (
        ("2026-01-01", "2026-02-01", 409),
        ("2025-12-01", "2026-01-01", 201),  # periods are half-open: it ends where the other begins
        ("2026-02-01", "2026-03-01", 201),
        ("2025-12-31", "2026-01-01T00:00:00.001", 409),
        ("2026-01-31T23:59:59.999", "2026-02-01", 409),
        ("2026-01-10", "2026-01-11", 409),
        ("2025-01-01", "2027-01-01", 409),
        ("2026-04-01", "2026-05-01", 201),
        ("2026-06-30", "2026-07-01", 409),
        ("2026-07-01", "2026-08-01", 201),
    ):
        answer = await gateway.post("/invoices", {**INVOICE, **_span(start, end), "id": None})
        assert answer.status_code == status, (start, end)
        assert status == 201 or answer.json()["code"] == "period_already_invoiced"
    for other in ({"subscriptionId": "sub_2"}, {"subscriptionId": None}, {"periodStart": None, "periodEnd": None}):
        assert (await gateway.post("/invoices", {**INVOICE, "id": None, **other})).status_code == 201, other


async def test_of_many_who_ask_for_one_period_at_once_one_gets_it(gateway: RunningGateway) -> None:
    await set_up(gateway)
    spans = [_span(f"2026-01-{day:02d}", f"2026-02-{day:02d}") for day in range(1, 5)]
    answers = await after_waiting_for_sub(
        gateway, *(gateway.post("/invoices", {**INVOICE, **span, "id": f"inv_{n}"}) for n, span in enumerate(spans))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len((await gateway.get("/invoices")).json()["invoices"]) == 1
    assert [key for key, _, _ in await gateway.catalog() if key.startswith("invoice/")] == [
        f"invoice/{answer.json()['invoice']['id']}" for answer in answers if answer.status_code == 201
    ]
    same = await asyncio.gather(
        *(gateway.post("/invoices", {**INVOICE, **_span("2027-01-01", "2027-02-01")}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in same) == [200] * 9 + [201]


async def test_events_are_the_newest_of_those_that_are_linked_or_billed(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await close_period(gateway, "closed", month=1)
    await gateway.post("/invoices", {**INVOICE, "id": "manual", "subscriptionId": None})
    await project_events(gateway, 1, sequence=0)
    await project_events(gateway, 2, sequence=0, invoice_id="closed", status="VOIDED")  # both, and shown once
    await project_events(gateway, 3, sequence=1, invoice_id="closed")
    await project_events(gateway, 4, sequence=1)  # an adjustment's
    await project_events(gateway, 5, subscription_id="sub_2", sequence=0)
    await project_events(gateway, 6, period_start="2026-02-01", period_end="2026-03-01", sequence=0)
    await project_events(gateway, 30, sequence=0, invoice_id="manual", subscription_id="sub_2")
    for invoice_id, offsets in (("closed", [3, 2, 1]), ("manual", [30])):
        events = (await gateway.get(f"/invoices/{invoice_id}")).json()["invoice"]["events"]
        assert [event["id"] for event in events] == [f"ue_0_{offset}" for offset in offsets]
    assert (events[0]["quantity"], events[0]["status"], events[0]["invoiceId"]) == ("1.000000", "RECORDED", "manual")
    await project_events(gateway, *range(100, 201), sequence=0, occurred_at="2026-01-31 23:00:00")
    events = (await gateway.get("/invoices/closed")).json()["invoice"]["events"]
    assert [event["id"] for event in events] == [f"ue_0_{offset}" for offset in range(200, 100, -1)]
    assert "events" not in (await gateway.get("/invoices")).json()["invoices"][0]


async def test_currency_is_that_of_the_plan_where_none_is_given(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await gateway.post("/plans", {**PLAN, "id": "euros", "currency": "EUR"})
    answer = await gateway.post("/invoices", {**INVOICE, "paymentPlanId": "euros"})
    assert answer.json()["invoice"]["currency"] == "EUR"


TIERED: dict[str, Any] = {
    "model": "GRADUATED",
    "included": "100.000000",
    "tiers": [
        {"upTo": "1000.000000", "unitPrice": "0.010000000000", "flatAmount": "0.000000"},
        {"upTo": None, "unitPrice": "0.001000000000", "flatAmount": "5.000000"},
    ],
}


async def test_an_invoice_says_what_each_line_was_charged_by_and_where_its_events_are(
    gateway: RunningGateway,
) -> None:
    await set_up(gateway)
    prices = {"calls": TIERED, "gb": {"model": "PACKAGE", "unitPrice": "2", "packageSize": "10"}}
    await gateway.post("/plans", {**PLAN, "id": "tiered", "amount": "3", "prices": prices})
    await gateway.post("/plans", {**PLAN, "id": "flat", "pricingType": "FIXED_RECURRING", "amount": "9"})
    for sequence, status in enumerate(("VOID", "PAID", "OPEN")):
        await insert_invoice(
            gateway, f"inv_{sequence}", 1, payment_plan_id="tiered", sequence=sequence, status=status,
            digest="ab" * 32, log_partition=2, first_offset=10 * sequence, last_offset=10 * sequence + 5,
        )  # fmt: skip
    await insert_invoice(gateway, "flat", 2, payment_plan_id="flat")
    await insert_lines(gateway, ("inv_0", "calls", 600, None, "5.000000", 60), ("inv_0", "tokens", 3, 0, 0, 1))
    await insert_lines(gateway, ("inv_1", "calls", 700, None, "9.200000", 70))
    await insert_lines(gateway, ("inv_2", "calls", -700, None, "-9.200000", -70), ("inv_2", "gb", 25, 2, 6, 2))
    await insert_lines(gateway, ("inv_2", "seats", 1, 3, 3, 1), ("flat", "tokens", 5, 0, 0, 5))

    shown = (await gateway.get("/invoices/inv_2")).json()["invoice"]
    places = {"digest": "ab" * 32, "logPartition": 2, "firstOffset": 20, "lastOffset": 25}
    assert {name: shown[name] for name in places} == places
    nothing = {"quantity": "0.000000", "eventCount": 0, "amount": "0.000000"}
    assert [(line["meter"], line["price"], line["chargedBefore"]) for line in shown["lines"]] == [
        ("calls", TIERED, {"quantity": "1300.000000", "eventCount": 130, "amount": "14.200000"}),  # the VOID one, too
        (
            "gb",
            {"model": "PACKAGE", "included": "0.000000", "unitPrice": f"2.{0:012d}", "packageSize": "10.000000"},
            nothing,
        ),
        ("seats", {"model": "PER_UNIT", "included": "0.000000", "unitPrice": f"3.{0:012d}"}, nothing),
    ]
    invoices = {invoice["id"]: invoice for invoice in (await gateway.get("/invoices")).json()["invoices"]}
    assert {**shown, "events": None} == {**invoices["inv_2"], "events": None}
    assert [(line["price"], line["chargedBefore"]) for line in invoices["inv_0"]["lines"]] == [
        (TIERED, None),
        ({"model": "PER_UNIT", "included": "0.000000", "unitPrice": "0.000000000001"}, None),
    ]
    assert [line["chargedBefore"]["amount"] for line in invoices["inv_1"]["lines"]] == ["5.000000"]
    assert [(line["price"], line["chargedBefore"]) for line in invoices["flat"]["lines"]] == [(None, None)]


async def test_an_id_that_a_closed_period_s_invoice_could_have_is_refused(gateway: RunningGateway) -> None:
    await set_up(gateway)
    to_come = closer_invoice_id("sub", parse_timestamp("2026-01-01T00:00:00Z"), 0)
    answer = await gateway.post("/invoices", {**INVOICE, "id": to_come})
    assert summary(answer) == (400, "field_invalid", "id")
    assert "choose another" in answer.json()["error"]
    assert (await gateway.get(f"/invoices/{to_come}")).status_code == 404


def _span(start: str, end: str) -> dict[str, str]:
    def text(at: str) -> str:
        return f"{at}Z" if "T" in at else f"{at}T00:00:00Z"

    return {"periodStart": text(start), "periodEnd": text(end)}
