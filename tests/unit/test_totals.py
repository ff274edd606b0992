import json

import pytest

from schemas.closed_period import Charge
from schemas.totals import PERIOD_METER, MeterTotal, PeriodState, period_prefix, total_key
from tests.unit.world import ONE, ms

END = ms("2026-02-01T00:00:00Z")
START_TEXT = "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("subscription_id", "meter", "key"),
    [
        ("sub", "calls", b'["sub","2026-01-01T00:00:00.000Z","calls"]'),
        ("sub", PERIOD_METER, b'["sub","2026-01-01T00:00:00.000Z",""]'),
        ('s"],', 'a","b', b'["s\\"],","2026-01-01T00:00:00.000Z","a\\",\\"b"]'),
        ("東", "é", '["東","2026-01-01T00:00:00.000Z","é"]'.encode()),
    ],
)
def test_key_is_a_json_array_and_begins_with_its_period(subscription_id: str, meter: str, key: bytes) -> None:
    assert total_key(subscription_id, START_TEXT, meter) == key
    assert json.loads(key) == [subscription_id, START_TEXT, meter]
    assert key.startswith(period_prefix(subscription_id, START_TEXT))


def test_no_key_begins_with_the_prefix_of_another_period() -> None:
    places = [(sub, start, meter) for sub in ("a", "a,", 'a"') for start in (START_TEXT, "x") for meter in ("", "b")]
    keys = {place: total_key(*place) for place in places}
    for subscription_id, start, _ in places:
        found = {place for place, key in keys.items() if key.startswith(period_prefix(subscription_id, start))}
        assert {place[:2] for place in found} == {(subscription_id, start)}


@pytest.mark.parametrize(
    ("total", "document"),
    [
        (
            MeterTotal(END, 5_250_000, 3),
            {"quantity": "5.250000", "eventCount": 3, "periodEnd": "2026-02-01T00:00:00.000Z"},
        ),
        (MeterTotal(None), {"quantity": "0.000000", "eventCount": 0, "periodEnd": None}),
        (
            MeterTotal(END, 10**26, 10**7, Charge(-ONE, 1, -250_000)),  # sums pass 10^14
            {
                "quantity": "100000000000000000000.000000",
                "eventCount": 10_000_000,
                "periodEnd": "2026-02-01T00:00:00.000Z",
                "charged": {"quantity": "-1.000000", "eventCount": 1, "amount": "-0.250000"},
            },
        ),
    ],
)
def test_total_of_a_meter_on_the_topic(total: MeterTotal, document: dict[str, object]) -> None:
    assert json.loads(total.to_json()) == document
    assert MeterTotal.of_json(total.to_json()) == total


@pytest.mark.parametrize(
    ("state", "document"),
    [
        (
            PeriodState(END),
            {
                "closed": False,
                "nextSequence": 0,
                "issued": "0.000000",
                "periodEnd": "2026-02-01T00:00:00.000Z",
                "firstAt": None,
                "lastAt": None,
                "firstOffset": None,
                "lastOffset": None,
            },
        ),
        (
            PeriodState(None, True, 3, -250_000, END, END + 1, 0, 2**53),
            {
                "closed": True,
                "nextSequence": 3,
                "issued": "-0.250000",
                "periodEnd": None,
                "firstAt": "2026-02-01T00:00:00.000Z",
                "lastAt": "2026-02-01T00:00:00.001Z",
                "firstOffset": 0,
                "lastOffset": 2**53,
            },
        ),
    ],
)
def test_state_of_a_period_on_the_topic(state: PeriodState, document: dict[str, object]) -> None:
    assert json.loads(state.to_json()) == document
    assert PeriodState.of_json(state.to_json()) == state


@pytest.mark.parametrize(
    "original",
    [MeterTotal(END, 2, 3, Charge(4, 5, 6)), PeriodState(END, True, 2, 3, 4, 5, 6, 7)],
    ids=["total", "state"],
)
def test_a_copy_is_equal_and_another(original: MeterTotal | PeriodState) -> None:
    copy = original.copy()
    assert copy == original
    copy.period_end = None
    assert copy != original


def test_a_period_that_ends_after_2100_is_read_back() -> None:
    end = ms("2101-01-15T00:00:00Z")
    assert MeterTotal.of_json(MeterTotal(end).to_json()) == MeterTotal(end)
    assert PeriodState.of_json(PeriodState(end).to_json()) == PeriodState(end)
