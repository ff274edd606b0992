"""Voids: an accepted event is taken back once, under its own id and key; its key stays taken."""

import json
from dataclasses import dataclass

import pytest

from aggregator.rules.uniqueness import Place
from aggregator.rules.verdicts import Decisions
from aggregator.rules.voiding import decide_voids, voids_of
from schemas.correction import Void, parse_void
from schemas.rejection import Reason, Rejection
from schemas.totals import MeterTotal
from tests.unit.world import ACCEPTED, HOUR, IDENTICAL, NOON, ONE, LogRecord, World, closing_of, populated, usage

LATER = NOON + HOUR


@dataclass(frozen=True)
class Corrections:
    """A world in which events were counted, and corrections come in."""

    world: World
    log: dict[tuple[int, int], LogRecord]

    def decide(self, *voids: bytes | None) -> Decisions:
        records = [LogRecord(n, LATER, value) for n, value in enumerate(voids)]
        needed = voids_of(records, self.world.tables)
        originals = {place: record for place, record in self.log.items() if place in needed}
        return decide_voids(records, originals, self.world.tables, self.world.catalog)

    def process(self, *voids: bytes | None) -> Decisions:
        decisions = self.decide(*voids)
        self.world.tables.apply(decisions)
        return decisions

    def total(self) -> MeterTotal:
        [total] = self.world.tables.totals.values()
        return total


@pytest.fixture
def corrections() -> Corrections:
    """Three calls at offsets 0 to 2, of 1, 2.5 and 0; at offset 3 one that was refused."""
    world = populated()
    values = [
        usage(eventKey="call#1"),
        usage(eventKey="call#2", quantity="2.5"),
        usage(eventKey="call#3", quantity="0", occurredAt="2026-01-10T00:00:00Z"),
        usage(eventKey="call#4", userId="bob"),
    ]
    outcomes = world.process(*((NOON, value) for value in values))
    assert outcomes == [ACCEPTED, ACCEPTED, ACCEPTED, "subscription_mismatch"]
    return Corrections(world, {(0, n): LogRecord(n, NOON, value) for n, value in enumerate(values)})


def void(offset: int, key: str, subscription_id: str = "sub") -> bytes:
    return Void(f"ue_0_{offset}", (subscription_id, key), "by mistake").to_json()


def test_a_void_takes_the_event_out_of_its_total(corrections: Corrections) -> None:
    decisions = corrections.process(void(1, "call#2"))
    assert (corrections.total().quantity, corrections.total().event_count) == (ONE, 2)  # 1 + 2.5 + 0 - 2.5
    [voided] = decisions.accepted
    document = json.loads(voided.value)
    assert (document["id"], document["status"], document["quantity"]) == ("ue_0_1", "VOIDED", "2.500000")
    assert document["createdAt"] == "2026-01-15T12:00:00.000Z"
    assert document["updatedAt"] == "2026-01-15T13:00:00.000Z"


def test_a_voided_event_differs_from_the_recorded_one_in_status_and_time_alone(corrections: Corrections) -> None:
    world = populated()
    [recorded] = world.decide(world.records((NOON, usage()))).accepted
    [voided] = corrections.decide(void(0, "call#1")).accepted
    before, after = json.loads(recorded.value), json.loads(voided.value)
    assert {name for name in before if before[name] != after[name]} == {"status", "updatedAt"}
    assert recorded.key == voided.key


def test_the_key_of_a_voided_event_stays_taken(corrections: Corrections) -> None:
    corrections.process(void(0, "call#1"))
    assert corrections.world.process(
        (LATER, usage(eventKey="call#1")), (LATER, usage(eventKey="call#1", quantity="7"))
    ) == [IDENTICAL, "duplicate_event_key"]


def test_a_void_counts_once_however_often_it_comes(corrections: Corrections) -> None:
    first = corrections.process(void(0, "call#1"), void(0, "call#1"))
    again = corrections.process(void(0, "call#1"))
    assert (first.counts().accepted, first.counts().repeated) == (1, 1)
    assert (again.counts().accepted, again.counts().repeated, again.totals) == (0, 1, {})
    assert (corrections.total().quantity, corrections.total().event_count) == (2 * ONE + ONE // 2, 2)


# A correction, and why it is refused.
REFUSED = [
    (void(3, "call#4"), Reason.EVENT_NOT_RECORDED),  # its event was refused
    (void(9, "call#9"), Reason.EVENT_NOT_RECORDED),  # there is no such event
    (void(1, "call#1"), Reason.EVENT_NOT_RECORDED),  # another event has the key
    (void(0, "call#1", "sub2"), Reason.EVENT_NOT_RECORDED),
    (None, Reason.INVALID_BODY),
    (b"\xff", Reason.INVALID_BODY),
    (b"{}", Reason.FIELD_REQUIRED),
    (b'{"id":"ue_0_01","uniqueKey":["sub","call#1"],"reason":"x"}', Reason.FIELD_INVALID),
    (b'{"id":"ue_0_0","uniqueKey":"sub","reason":"x"}', Reason.FIELD_INVALID),
    (b'{"id":"ue_0_0","uniqueKey":["sub"],"reason":"x"}', Reason.FIELD_INVALID),
    (b'{"id":"ue_0_0","uniqueKey":["sub","call#1"]}', Reason.FIELD_REQUIRED),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_what_can_not_be_voided_is_refused_and_changes_nothing(
    corrections: Corrections, value: bytes | None, reason: Reason
) -> None:
    decisions = corrections.decide(value)
    assert [rejected.rejection.reason for rejected in decisions.rejected] == [reason]
    assert (decisions.accepted, decisions.totals, decisions.periods) == ([], {}, {})


def test_a_void_of_an_event_that_the_log_has_deleted_is_refused(corrections: Corrections) -> None:
    del corrections.log[0, 0]
    [rejected] = corrections.decide(void(0, "call#1")).rejected
    assert rejected.rejection.reason is Reason.PROCESSING_FAILED
    assert "keep that topic for ever" in rejected.rejection.error


def test_a_void_after_the_close_becomes_a_credit(corrections: Corrections) -> None:
    tables, catalog = corrections.world.tables, corrections.world.catalog
    account = catalog.accounts["sub"]
    period = account.calendar.period_at(NOON)
    closing = closing_of(account, period, tables.period("sub", period), tables.totals_of("sub", period))
    tables.periods["sub", period.start] = closing.state
    tables.totals.update({("sub", period.start, meter): total for meter, total in closing.totals.items()})

    decisions = corrections.process(void(1, "call#2"))
    assert ("sub", period.start) in decisions.waiting
    credit = closing_of(account, period, tables.period("sub", period), tables.totals_of("sub", period))
    assert credit.closed is not None
    [line] = credit.closed.lines
    assert (credit.closed.sequence, line.quantity, line.event_count) == (1, -2 * ONE - ONE // 2, -1)
    assert line.charged_before.amount == 875_000  # 3.5 x 0.25
    assert credit.totals["call"].charged.amount == 250_000  # 1 x 0.25: the credit is -0.625


def test_a_void_says_the_same_after_the_wire() -> None:
    for parts in [("sub", "call#1"), ("sub", "call#1", "2026-01-01T00:00:00.000Z"), ('s"u\\b', "käll#\u00a01", "e")]:
        written = Void("ue_7_123", parts, "twice")
        assert parse_void(written.to_json()) == written


def test_the_unique_key_of_a_void_is_that_of_the_event(corrections: Corrections) -> None:
    [recorded] = corrections.world.decide(corrections.world.records((NOON, usage(eventKey='ca"ll\\#ü')))).accepted
    written = parse_void(void(4, 'ca"ll\\#ü'))
    assert not isinstance(written, Rejection)
    assert written.key_bytes() == recorded.key
    assert Place.unpack(recorded.place)[:2] == written.place
