import json
from typing import Any

import pytest

from schemas.canonical import canonical_json, digest
from schemas.closed_period import Charge, ClosedLine, ClosedPeriod, parse_closed_part
from schemas.plan import Invoicing, PricingType
from tests.unit.world import ONE, ms, plan

START, END = ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z")
LINES = (
    ClosedLine("calls", 5_250_000, 3),
    ClosedLine("voided", -ONE, -1, Charge(2 * ONE, 2, 500_000)),
)


def closed(*lines: ClosedLine, start: int = START, end: int = END, sequence: int = 0, **of_plan: Any) -> ClosedPeriod:
    return ClosedPeriod("sub", "ai", "ada", plan(**of_plan), start, end, sequence, lines, 7, 9)


def many(count: int) -> tuple[ClosedLine, ...]:
    return tuple(ClosedLine(f"meter-{number:05d}", number, 1) for number in range(count))


def test_record_is_canonical_json_with_the_fields_of_the_contract() -> None:
    [(key, value)] = closed(*LINES, unitPrices={"calls": "0.1", "unused": "9"}, sequence=2).records()
    assert key == b'["sub","2026-01-01T00:00:00.000Z",2,0]'
    document = json.loads(value)
    assert value == canonical_json(document)
    assert document.pop("digest") == digest(document)
    assert document == {
        "subscriptionId": "sub",
        "serviceId": "ai",
        "userId": "ada",
        "planId": "plan",
        "pricingType": "USAGE_BASED",
        "invoicing": "AUTOMATIC",
        "currency": "USDC",
        "prices": {"amount": "0.250000", "unitPrices": {"calls": "0.100000000000"}},  # of the meters in the lines
        "periodStart": "2026-01-01T00:00:00.000Z",
        "periodEnd": "2026-02-01T00:00:00.000Z",
        "sequence": 2,
        "part": 0,
        "parts": 1,
        "lines": [
            {
                "meter": "calls",
                "quantity": "5.250000",
                "eventCount": 3,
                "chargedBefore": {"quantity": "0.000000", "eventCount": 0, "amount": "0.000000"},
            },
            {
                "meter": "voided",
                "quantity": "-1.000000",
                "eventCount": -1,
                "chargedBefore": {"quantity": "2.000000", "eventCount": 2, "amount": "0.500000"},
            },
        ],
        "firstOffset": 7,
        "lastOffset": 9,
        "partDigests": [],
    }


def test_record_is_read_back() -> None:
    [(_, value)] = closed(*LINES, unitPrices={"calls": "0.1"}, sequence=2).records()
    part = parse_closed_part(value)
    assert (part.subscription_id, part.service_id, part.user_id, part.plan_id) == ("sub", "ai", "ada", "plan")
    assert (part.pricing_type, part.invoicing, part.currency) == (
        PricingType.USAGE_BASED,
        Invoicing.AUTOMATIC,
        "USDC",
    )
    assert (part.prices.amount, part.prices.unit_prices, part.prices.prices) == (250_000, {"calls": 10**11}, {})
    assert (part.start, part.end, part.sequence, part.part, part.parts) == (START, END, 2, 0, 1)
    assert (part.lines, part.first_offset, part.last_offset) == (LINES, 7, 9)
    assert part.digest == json.loads(value)["digest"]


TIERED = {"model": "GRADUATED", "included": "1", "tiers": [{"upTo": "5", "unitPrice": "0.1"}, {"unitPrice": "0.05"}]}
PACKAGED = {"model": "PACKAGE", "unitPrice": "5", "packageSize": "100"}


def test_prices_of_the_meters_in_the_lines_stand_in_the_record_as_in_the_catalog() -> None:
    of_plan: dict[str, Any] = {"unitPrices": {"voided": "0.1"}, "prices": {"calls": TIERED, "unused": PACKAGED}}
    [(_, value)] = closed(*LINES, **of_plan).records()
    assert json.loads(value)["prices"] == {
        "amount": "0.250000",
        "unitPrices": {"voided": "0.100000000000"},
        "prices": {
            "calls": {
                "model": "GRADUATED",
                "included": "1.000000",
                "tiers": [
                    {"upTo": "5.000000", "unitPrice": "0.100000000000", "flatAmount": "0.000000"},
                    {"upTo": None, "unitPrice": "0.050000000000", "flatAmount": "0.000000"},
                ],
            }
        },
    }
    part = parse_closed_part(value)
    assert part.prices.price("calls") == plan(**of_plan).price("calls")
    assert part.prices.price("voided") == plan(**of_plan).price("voided")
    assert part.prices.price("other") == plan().price("other")


def test_digest_of_a_period_without_such_prices_is_the_one_that_it_always_had() -> None:
    [(_, value)] = closed(*LINES, unitPrices={"calls": "0.1"}, prices={"unused": PACKAGED}, sequence=2).records()
    assert json.loads(value)["digest"] == "650b7af4d3a411648899ca02a8743ca838f586bdfa8701f99b671c1b1376fa54"


@pytest.mark.parametrize(
    ("start", "end"),
    [("1999-12-15T00:00:00Z", "2000-01-15T00:00:00Z"), ("2100-12-15T00:00:00Z", "2101-01-15T00:00:00Z")],
)
def test_a_period_that_reaches_beyond_the_years_of_events_is_read_back(start: str, end: str) -> None:
    [(_, value)] = closed(*LINES, start=ms(start), end=ms(end)).records()
    part = parse_closed_part(value)
    assert (part.start, part.end) == (ms(start), ms(end))


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        (0, [0]),
        (1, [1]),
        (1_000, [1_000]),
        (1_001, [1_000, 1]),
        (2_000, [1_000, 1_000]),
        (2_001, [1_000, 1_000, 1]),
    ],
)
def test_a_part_has_a_thousand_lines_at_most(lines: int, counts: list[int]) -> None:
    records = list(closed(*many(lines)).records())
    parts = [parse_closed_part(value) for _, value in records]
    assert [len(part.lines) for part in parts] == counts
    assert [json.loads(key)[3] for key, _ in records] == [part.part for part in parts] == list(range(len(counts)))
    assert {part.parts for part in parts} == {len(counts)}
    assert tuple(line for part in parts for line in part.lines) == many(lines)


def test_digest_of_the_last_part_covers_the_parts_before() -> None:
    before = [json.loads(value) for _, value in closed(*many(2_001)).records()]
    changed = (ClosedLine("meter-00000", ONE, 1), *many(2_001)[1:])
    after = [json.loads(value) for _, value in closed(*changed).records()]
    assert before[-1]["partDigests"] == [before[0]["digest"], before[1]["digest"]]
    assert [old["digest"] == new["digest"] for old, new in zip(before, after, strict=True)] == [False, True, False]


def test_closing_again_gives_the_same_bytes() -> None:
    assert list(closed(*LINES).records()) == list(closed(*LINES).records())


@pytest.mark.parametrize("field", list(json.loads(next(closed(*LINES).records())[1])))
def test_a_record_with_any_field_changed_is_refused(field: str) -> None:
    document = json.loads(next(closed(*LINES).records())[1])
    document[field] = "0" * 64 if field == "digest" else [document[field]]
    with pytest.raises(ValueError, match="digest"):
        parse_closed_part(json.dumps(document).encode())


def signed(**changes: Any) -> bytes:
    """A record whose digest is right, with something else changed."""
    document = {**json.loads(next(closed(*LINES).records())[1]), **changes}
    document = {name: value for name, value in document.items() if value is not ...}
    return canonical_json({**document, "digest": digest(document)})


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'{"digest":1.5}',
        b'{"digest":NaN}',
        b"{}",
        signed(lines=...),
        signed(lines=None),
        signed(lines=[{"meter": "calls"}]),
        signed(lines=["calls"]),
        signed(prices=[]),
        signed(prices={"amount": "1.0", "unitPrices": {}}),
        signed(prices={"amount": "1.000000", "unitPrices": {}, "prices": {"calls": {"model": "BY_MOOD"}}}),
        signed(prices={"amount": "1.000000", "unitPrices": {}, "prices": {"calls": {"model": "VOLUME", "tiers": []}}}),
        signed(pricingType="FREE"),
        signed(periodStart="soon"),
        signed(periodStart=None),
    ],
)
def test_what_no_worker_wrote_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the sentence: the closer holds the record and shows it
        parse_closed_part(value)


def test_a_record_signed_again_without_a_change_is_read() -> None:
    assert parse_closed_part(signed()).lines == LINES
