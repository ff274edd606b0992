"""The verdicts of the last 15 minutes, made of ledgers at the borders of steps."""

from itertools import accumulate, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.status.history import STEPS, Step, Verdicts, borders, ledger_at, steps, verdicts_of
from ingest.gateway.status.positions import UnreadablePosition, position_of
from schemas.position import SOURCES, Counts, Ledger, Position
from schemas.topics import Topic

STEP_MS = 10_000
NAMES = [source.value for source in SOURCES]
NOW = 1_769_860_805_123


def record(at: int, accepted: int, before: int | None) -> Any:
    """A record of aggregator-positions: so many accepted by then, and by the batch before."""
    prev = None if before is None else dict.fromkeys(NAMES, before)
    ledger = Ledger().plus(Topic.USAGE_EVENTS, Counts(accepted, 0, 0))
    position = Position(dict.fromkeys(NAMES, accepted), 2, prev, ledger)
    return SimpleNamespace(timestamp=at, value=position.to_json())


AT = 50_000
FIRST, EARLIER, LATER = record(AT - 9, 3, 0), record(AT - 1, 5, 3), record(AT, 9, 5)


@pytest.mark.parametrize(
    ("records", "accepted"),
    [
        ([EARLIER, LATER], 5),  # what was appended at the border belongs to the step that begins there
        ([FIRST, EARLIER, LATER], 5),
        ([LATER], 9),  # the record before it is not right there: the nearest that is known
        ([record(AT, 3, 0)], 0),  # the first of all: nothing was before it
        ([record(AT, 3, None)], 0),
    ],
)
def test_the_ledger_at_a_time_is_that_of_the_last_record_before(records: list[Any], accepted: int) -> None:
    assert ledger_at(records, AT).accepted == accepted


def test_a_quarter_of_an_hour_is_cut_at_the_clocks_tens_of_seconds() -> None:
    found = borders(NOW)
    assert (found[0], found[-1], len(found)) == (1_769_859_900_000, 1_769_860_800_000, STEPS + 1)
    assert {end - start for start, end in pairwise(found)} == {STEP_MS}


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=STEPS))
def test_steps_add_up_to_what_came_between_their_ends(received: list[int]) -> None:
    known = {number * STEP_MS: Verdicts(received=total) for number, total in enumerate(accumulate(received))}
    found = list(steps(known))
    assert [step.verdicts.received for step in found] == received[1:]
    assert [step.end for step in found] == list(known)[1:]


def test_a_step_with_an_unknown_border_is_left_out() -> None:
    known = {0: Verdicts(1), STEP_MS: Verdicts(4), 3 * STEP_MS: Verdicts(9), 4 * STEP_MS: Verdicts(9)}
    assert list(steps(known)) == [Step(STEP_MS, Verdicts(3)), Step(4 * STEP_MS, Verdicts(0))]


def test_a_forwarded_event_has_its_verdict_where_it_arrives() -> None:
    sent = Ledger().plus(Topic.USAGE_EVENTS, Counts(accepted=2, duplicate=1, rejected=1, forwarded=3))
    arrived = Ledger().plus(Topic.USAGE_FORWARDED, Counts(accepted=1, duplicate=1, rejected=1))
    assert verdicts_of([sent, arrived]) == Verdicts(received=7, accepted=3, duplicate=2, rejected=2)


GOOD = record(AT, 3, 0).value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (GOOD.replace(b'"received":3', b'"received":4'), "does not add up"),
        (GOOD.replace(b'"usage-events":3', b'"usage-events":2'), "3 received of 2 offsets"),
        (b"{}", "is not one that a worker wrote"),
        (b"\xff", "is not one that a worker wrote"),
        (None, "is not one that a worker wrote"),
    ],
)
def test_a_position_that_can_not_be_right_says_what_is_wrong(value: bytes | None, problem: str) -> None:
    with pytest.raises(UnreadablePosition, match=problem):
        position_of(value)
