"""A verdict that can't find anything wrong is worth nothing: each fault, built by hand, is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import partition_of
from tests.chaos.journal import Journal, Outcome
from tests.chaos.reading import Arrived, Log, Taken
from tests.chaos.recount import Recount, recount
from tests.chaos.verdict import Verdict, check_journal

PARTITIONS = 2
SUBSCRIPTION = "sub_1"
HOME = partition_of(SUBSCRIPTION, PARTITIONS)
BEGUN_AT, CANCELLED_AT = 1_000, 5_000
START = "2026-03-01T00:00:00.000Z"


def event(key: str, quantity: str = "2.5") -> dict[str, Any]:
    return {
        "serviceId": "svc_1",
        "subscriptionId": SUBSCRIPTION,
        "userId": "user_1",
        "eventKey": key,
        "quantity": quantity,
        "occurredAt": "2026-03-04T05:06:07.000Z",
    }


def sound() -> Log:
    """Four events: two that count, a repeat of the second, and one after the cancellation. The second is voided."""
    log = Log()
    transitions = [{"version": 1, "status": "ACTIVE", "at": None}]
    whose = {"serviceId": "svc_1", "userId": "user_1", "billingAnchor": "2025-01-01T00:00:00Z"}
    log.catalog["service/svc_1"].append(Arrived(0, {"eventKeyScope": "SUBSCRIPTION"}))
    log.catalog[f"subscription/{SUBSCRIPTION}"] = [
        Arrived(BEGUN_AT, {**whose, "version": 1, "transitions": transitions}),
        Arrived(
            CANCELLED_AT,
            {
                **whose,
                "version": 2,
                "transitions": [
                    {**transitions[0], "at": "1970-01-01T00:00:01.000Z"},
                    {"version": 2, "status": "CANCELLED", "at": None},
                ],
            },
        ),
    ]
    for offset, (key, at) in enumerate((("a#1", 2_000), ("a#2", 3_000), ("a#2", 4_000), ("a#3", 6_000))):
        log.events[HOME, offset] = Arrived(at, event(key))
    for offset, key in enumerate(("a#1", "a#2")):
        log.accepted[json.dumps([SUBSCRIPTION, key])].append(Taken((HOME, offset), "RECORDED", 3_500))
    log.rejected[HOME, 2].append("duplicate_event_key")
    log.rejected[HOME, 3].append("subscription_not_active")
    log.corrections.append(Arrived(7_000, {"id": f"ue_{HOME}_1", "uniqueKey": [SUBSCRIPTION, "a#2"]}))
    log.accepted[json.dumps([SUBSCRIPTION, "a#2"])].append(Taken((HOME, 1), "VOIDED", 7_000))
    return log


def test_a_sound_log_is_clean() -> None:
    result = recount(sound(), PARTITIONS)
    assert (result.lost, result.duplicated, result.wrong) == ([], [], [])
    usage = result.totals[SUBSCRIPTION, START, "a"]
    assert (str(usage.quantity), usage.events) == ("2.5", 1)  # 2.5 of a#1; a#2 was taken back


def forget_accepted(log: Log) -> None:
    del log.accepted[json.dumps([SUBSCRIPTION, "a#1"])]


def forget_rejected(log: Log) -> None:
    del log.rejected[HOME, 2]


def forget_void(log: Log) -> None:
    log.accepted[json.dumps([SUBSCRIPTION, "a#2"])].pop()


def count_twice(log: Log) -> None:
    log.accepted[json.dumps([SUBSCRIPTION, "a#2"])].append(Taken((HOME, 2), "RECORDED", 4_000))


def count_and_reject(log: Log) -> None:
    log.rejected[HOME, 0].append("duplicate_event_key")


def forward_what_is_at_home(log: Log) -> None:
    log.forwarded[HOME, 0].append(HOME)


def count_after_cancellation(log: Log) -> None:
    log.accepted[json.dumps([SUBSCRIPTION, "a#3"])].append(Taken((HOME, 3), "RECORDED", 6_000))
    del log.rejected[HOME, 3]


def count_what_was_never_sent(log: Log) -> None:
    log.accepted[json.dumps([SUBSCRIPTION, "a#4"])].append(Taken((HOME, 4), "RECORDED", 6_000))


def void_unasked(log: Log) -> None:
    log.corrections.clear()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (forget_accepted, "lost"),
        (forget_rejected, "lost"),
        (forget_void, "lost"),
        (count_twice, "duplicated"),
        (count_and_reject, "duplicated"),
        (forward_what_is_at_home, "duplicated"),
        (count_after_cancellation, "wrong"),
        (count_what_was_never_sent, "wrong"),
        (void_unasked, "wrong"),
    ],
)
def test_a_fault_in_the_log_is_found(fault: Callable[[Log], None], kind: str) -> None:
    log = sound()
    fault(log)
    result: Recount = recount(log, PARTITIONS)
    assert getattr(result, kind)


def test_a_change_that_was_published_again_happened_when_it_first_was() -> None:
    log = sound()
    again = log.catalog[f"subscription/{SUBSCRIPTION}"][-1]
    log.catalog[f"subscription/{SUBSCRIPTION}"].append(Arrived(CANCELLED_AT + 2_000, again.document))
    assert recount(log, PARTITIONS).wrong == []
    count_after_cancellation(log)
    assert recount(log, PARTITIONS).wrong != []


def journal_check(tmp_path: Path, *sent: tuple[str, Outcome, int | None]) -> Verdict:
    """The journal of these attempts (event key, outcome, offset of the receipt) against the sound log."""
    journal, result = Journal(tmp_path / "journal.jsonl"), Verdict()
    for key, outcome, offset in sent:
        journal.note("http", event(key), outcome, id=None if offset is None else f"ue_{HOME}_{offset}")
    journal.close()
    check_journal(journal, sound(), result)
    return result


SENT = (
    ("a#1", Outcome.OK, 0),
    ("a#2", Outcome.OK, 1),
    ("a#2", Outcome.UNKNOWN, None),
    ("a#3", Outcome.UNKNOWN, None),
    ("a#9", Outcome.UNKNOWN, None),
    ("b#1", Outcome.REFUSED, None),
)


def test_a_journal_of_what_happened_is_clean(tmp_path: Path) -> None:
    assert journal_check(tmp_path, *SENT).is_clean


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        (("a#7", Outcome.OK, 7), "lost"),  # acknowledged, and not in the log
        (("a#1", Outcome.OK, 0), "duplicated"),  # one receipt for two
        (("a#7", Outcome.OK, 2), "wrong"),  # the receipt is of another event
    ],
)
def test_a_receipt_that_does_not_hold_is_found(
    tmp_path: Path, more: tuple[str, Outcome, int | None], kind: str
) -> None:
    assert getattr(journal_check(tmp_path, *SENT, more), kind)


def test_a_copy_that_nobody_sent_is_found(tmp_path: Path) -> None:
    without_the_retry = [sent for sent in SENT if sent != ("a#2", Outcome.UNKNOWN, None)]
    assert journal_check(tmp_path, *without_the_retry).duplicated


def test_a_refused_event_in_the_log_is_found(tmp_path: Path) -> None:
    refused = [sent if sent[0] != "a#3" else ("a#3", Outcome.REFUSED, None) for sent in SENT]
    assert journal_check(tmp_path, *refused).duplicated
