"""Forwarded events in their own partition: decided as what they were where they first arrived."""

import json
from dataclasses import dataclass, field

from aggregator.rules.arriving import Arrival, decide_arrivals
from aggregator.rules.uniqueness import Place
from schemas.forwarding import Headers, Origin, split_origin
from schemas.rejection import Reason
from schemas.timestamps import timestamp_text
from schemas.topics import partition_of
from tests.unit.world import CANCELLED_AT_NOON, MINUTE, NOON, ONE, account, populated, subscription, usage

PARTITIONS = 8
HOME = partition_of("sub", PARTITIONS)
AWAY = Origin(partition=(HOME + 1) % PARTITIONS, offset=41, at=NOON)


@dataclass(frozen=True)
class ForwardedRecord:
    """A record of `usage-forwarded[HOME]`, appended long after its request."""

    offset: int
    value: bytes | None
    headers: Headers = field(default_factory=AWAY.headers)
    key: bytes | None = b"sub"
    partition: int = HOME
    timestamp: int = NOON + 60 * MINUTE


def test_an_arrival_counts_under_its_first_id_and_at_its_first_request() -> None:
    world = populated()
    decisions = decide_arrivals([ForwardedRecord(3, usage())], HOME, PARTITIONS, world.tables, world.catalog)
    [accepted] = decisions.accepted
    document = json.loads(accepted.value)
    assert (document["partition"], document["offset"]) == (AWAY.partition, 41)
    assert (document["createdAt"], document["occurredAt"]) == (timestamp_text(NOON), timestamp_text(NOON))
    assert Place.unpack(accepted.place)[:2] == (AWAY.partition, 41)
    [total] = decisions.totals.values()
    assert (total.quantity, total.event_count) == (ONE, 1)


def test_an_arrival_is_judged_by_its_first_request() -> None:
    """The subscription was cancelled between the request and the arrival."""
    world = populated()
    world.catalog.add(account(subscription("sub", CANCELLED_AT_NOON)))
    before = Origin(AWAY.partition, 40, NOON - 1)
    records = [ForwardedRecord(3, usage(), before.headers()), ForwardedRecord(4, usage(eventKey="call#2"))]
    decisions = decide_arrivals(records, HOME, PARTITIONS, world.tables, world.catalog)
    assert [accepted.record.offset for accepted in decisions.accepted] == [40]
    [rejected] = decisions.rejected
    assert (rejected.record.offset, rejected.rejection.reason) == (41, Reason.SUBSCRIPTION_NOT_ACTIVE)


def test_the_range_of_offsets_is_of_the_partitions_own_log() -> None:
    world = populated()
    [(_, state)] = decide_arrivals(
        [ForwardedRecord(3, usage())], HOME, PARTITIONS, world.tables, world.catalog
    ).periods.values()
    assert (state.first_at, state.last_at) == (NOON, NOON)
    assert (state.first_offset, state.last_offset) == (None, None)


def test_an_arrival_that_was_counted_before_is_a_duplicate() -> None:
    world = populated()
    first = decide_arrivals([ForwardedRecord(3, usage())], HOME, PARTITIONS, world.tables, world.catalog)
    world.tables.apply(first)
    again = [ForwardedRecord(4, usage(), Origin(AWAY.partition, 42, NOON).headers())]
    decisions = decide_arrivals(again, HOME, PARTITIONS, world.tables, world.catalog)
    assert (decisions.counts().duplicate, decisions.counts().accepted) == (1, 0)
    [rejected] = decisions.rejected
    assert rejected.rejection.extra == {"identical": True, "existingId": f"ue_{AWAY.partition}_41"}


def test_headers_as_sent_are_kept_and_forged_ones_overruled() -> None:
    forged = Origin(HOME, 0, 0).headers()
    sent: Headers = [("traceparent", b"00-1"), *forged]
    world = populated()
    records = [ForwardedRecord(3, b"no JSON", [*sent, *AWAY.headers()])]
    [rejected] = decide_arrivals(records, HOME, PARTITIONS, world.tables, world.catalog).rejected
    assert isinstance(rejected.record, Arrival)
    assert rejected.record.headers == sent
    assert (rejected.record.partition, rejected.record.offset, rejected.record.timestamp) == (AWAY.partition, 41, NOON)


def test_what_no_worker_forwarded_is_refused_where_it_stands() -> None:
    """Without an origin, and a well-formed event that belongs elsewhere: neither is sent on once more."""
    world = populated()
    records = [
        ForwardedRecord(3, usage(), []),
        ForwardedRecord(4, usage(subscriptionId=_subscription_elsewhere())),
    ]
    decisions = decide_arrivals(records, HOME, PARTITIONS, world.tables, world.catalog)
    assert [(r.record.offset, r.rejection.reason) for r in decisions.rejected] == [
        (3, Reason.PROCESSING_FAILED),
        (4, Reason.PROCESSING_FAILED),
    ]
    assert decisions.counts() == (0, 0, 2, 0, 0)


def _subscription_elsewhere() -> str:
    return next(f"sub{n}" for n in range(100) if partition_of(f"sub{n}", PARTITIONS) != HOME)


# Headers at the end of a record, and whether a worker may have written them.
ORIGINS: list[tuple[Headers, bool]] = [
    (AWAY.headers(), True),
    ([], False),
    (AWAY.headers()[:2], False),
    (AWAY.headers()[::-1], False),
    ([*AWAY.headers(), ("later", b"")], False),
    ([("origin-partition", b"-1"), *AWAY.headers()[1:]], False),
    ([("origin-partition", b"1.0"), *AWAY.headers()[1:]], False),
    ([AWAY.headers()[0], ("origin-offset", b"9" * 20), AWAY.headers()[2]], False),
    ([AWAY.headers()[0], ("origin-offset", None), AWAY.headers()[2]], False),  # type: ignore[list-item]  # on the wire
    ([*AWAY.headers()[:2], ("origin-time", b"noon")], False),
    ([*AWAY.headers()[:2], ("origin-time", b"\xff")], False),
]


def test_an_origin_is_what_workers_write_and_nothing_else() -> None:
    for headers, is_origin in ORIGINS:
        split = split_origin([("sent", b"by the client"), *headers])
        assert (split is not None) == is_origin, headers
    assert split_origin([("sent", b"by the client"), *AWAY.headers()]) == ([("sent", b"by the client")], AWAY)
