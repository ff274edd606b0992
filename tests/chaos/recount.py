"""The oracle: what the log must have come to, told from the raw records in plain steps.

It shares no rule with the worker and knows only what campaigns use: monthly periods that begin at midnight UTC of the
1st or the 15th, prices by meter, and statuses.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from schemas.topics import partition_of
from tests.chaos.reading import Arrived, Log, Place

Key = tuple[str, ...]
TotalKey = tuple[str, str, str]
"""Subscription, start of the period, meter."""

TEXTS = ("serviceId", "subscriptionId", "userId", "eventKey")


class Validity(Enum):
    """Whether an event is to be counted. EITHER: its request fell on a change of status, as seen by several clocks."""

    YES = "yes"
    NO = "no"
    EITHER = "either"


@dataclass
class Usage:
    """What a meter of a period comes to."""

    quantity: Decimal = Decimal(0)
    events: int = 0


@dataclass
class Recount:
    """What is wrong, a sentence each, and what all usage adds up to."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    totals: dict[TotalKey, Usage] = field(default_factory=dict)
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


def recount(log: Log, partitions: int) -> Recount:
    """Judge every record, and add up what counts."""
    result = Recount()
    copies: defaultdict[Key, list[tuple[Place, Validity]]] = defaultdict(list)
    places = {taken.place for all_taken in log.accepted.values() for taken in all_taken if taken.status == "RECORDED"}
    for place, arrived in log.events.items():
        key, validity = judge(log, arrived)
        if key is not None:
            copies[key].append((place, validity))
        _check_verdicts(log, place, arrived, place in places, partitions, result)
    _check_keys(log, copies, result)
    result.counts["received"] = len(log.events)
    return result


def judge(log: Log, arrived: Arrived) -> tuple[Key | None, Validity]:
    """The unique key of an event, and whether it counts if it is the first of that key."""
    event = arrived.document
    if event is None or not is_well_formed(event):
        return None, Validity.NO
    versions = log.catalog.get(f"subscription/{event['subscriptionId']}")
    if versions is None or versions[0].at > arrived.at:
        return None, Validity.NO
    whose = _document(versions[-1])
    if (whose["serviceId"], whose["userId"]) != (event["serviceId"], event["userId"]):
        return None, Validity.NO
    scope = _document(log.catalog[f"service/{event['serviceId']}"][-1])["eventKeyScope"]
    key: Key = (event["subscriptionId"], event["eventKey"])
    if scope == "PERIOD":
        key = (*key, period_start(log, event["subscriptionId"], occurred_at(arrived)))
    elif scope == "EVENT":
        if not isinstance(event.get("eventId"), str):
            return None, Validity.NO
        key = (*key, event["eventId"])
    return key, _active(versions, arrived.at)


def is_well_formed(event: dict[str, Any]) -> bool:
    """Whether an event has the shape that the contract asks for."""
    if not all(isinstance(event.get(name), str) and event[name].strip() for name in TEXTS):
        return False
    quantity = event.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, str | Decimal):
        return False
    try:
        number = Decimal(quantity)
    except InvalidOperation:
        return False
    return number.is_finite() and 0 <= number < 10**14 and number == round(number, 6)


def occurred_at(arrived: Arrived) -> datetime:
    """When an event happened."""
    assert arrived.document is not None
    sent = arrived.document.get("occurredAt")
    return datetime.fromtimestamp(arrived.at / 1000, UTC) if sent is None else datetime.fromisoformat(sent)


def period_start(log: Log, subscription_id: str, at: datetime) -> str:
    """The start of the month, from the 1st or the 15th, in which a moment lies."""
    anchor = _document(log.catalog[f"subscription/{subscription_id}"][0])["billingAnchor"]
    day, month, year = int(anchor[8:10]), at.month, at.year
    if at.day < day:
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return f"{year:04d}-{month:02d}-{day:02d}T00:00:00.000Z"


def meter_of(event_key: str) -> str:
    """The part of the key before the first '#'."""
    return event_key.partition("#")[0]


def _active(versions: list[Arrived], at: int) -> Validity:
    """The status at a request. A change happened when its version was first appended, however often it was; whether
    that was before a request of the same millisecond, the log does not tell."""
    first_seen: dict[int, int] = {}
    for version in versions:
        first_seen.setdefault(int(_document(version)["version"]), version.at)
    newest = max(versions, key=lambda version: int(_document(version)["version"]))
    early = late = None
    for transition in _document(newest)["transitions"]:
        begun = first_seen[int(transition["version"])]
        early = transition["status"] if early is None or begun <= at else early
        late = transition["status"] if late is None or begun < at else late
    if early == late:
        return Validity.YES if early == "ACTIVE" else Validity.NO
    return Validity.EITHER


def _check_verdicts(
    log: Log, place: Place, arrived: Arrived, is_accepted: bool, partitions: int, result: Recount
) -> None:
    codes = log.rejected.get(place, [])
    verdicts = len(codes) + is_accepted
    if verdicts == 0:
        result.lost.append(f"the event at {place} has no verdict: {arrived.document}")
    elif verdicts > 1:
        result.duplicated.append(f"the event at {place} has {verdicts} verdicts: {codes}, accepted: {is_accepted}")
    for code in codes:
        result.counts[code] += 1
    event, forwards = arrived.document, log.forwarded.get(place, [])
    result.counts["forwarded"] += len(forwards)
    if forwards:
        assert event is not None, "what was forwarded is well-formed"
        home = partition_of(event["subscriptionId"], partitions)
        if forwards != [home] or home == place[0]:
            result.duplicated.append(f"the event at {place} of partition {home} was forwarded to {forwards}")


def _check_keys(log: Log, copies: dict[Key, list[tuple[Place, Validity]]], result: Recount) -> None:
    voids = _voids(log)
    accepted = {tuple(json.loads(key)): taken for key, taken in log.accepted.items()}
    for key, found in copies.items():
        taken = accepted.pop(key, [])
        places = [one.place for one in taken if one.status == "RECORDED"]
        if len(places) > 1:
            result.duplicated.append(f"{key} was counted at {places}")
        may_count = {place for place, validity in found if validity is not Validity.NO}
        if not places and any(validity is Validity.YES for _, validity in found):
            result.lost.append(f"{key} was counted nowhere, of its copies at {[place for place, _ in found]}")
        if not set(places) <= may_count:
            result.wrong.append(f"{key} was counted at {places}; only {sorted(may_count)} may be")
        if places:
            result.counts["accepted"] += 1
            is_voided = any(one.status == "VOIDED" for one in taken)
            result.counts["voided"] += is_voided
            first_at = next(one.at for one in taken if one.status == "RECORDED")
            _check_void(key, first_at, voids.get((key, places[0])), is_voided, result)
            _add(log, key, places[0], is_voided, result)
    result.wrong += [f"{key} was counted and never sent: {taken}" for key, taken in accepted.items()]


def _voids(log: Log) -> dict[tuple[Key, Place], int]:
    """When an event was asked to be taken back for the last time, in ms."""
    asked = {}
    for arrived in log.corrections:
        if arrived.document is not None:
            _, partition, offset = arrived.document["id"].split("_")
            asked[tuple(arrived.document["uniqueKey"]), (int(partition), int(offset))] = arrived.at
    return asked


def _check_void(key: Key, first_at: int, asked_at: int | None, is_voided: bool, result: Recount) -> None:
    if is_voided and asked_at is None:
        result.wrong.append(f"{key} was taken back and nobody asked for it")
    if not is_voided and asked_at is not None and first_at < asked_at:
        result.lost.append(f"the void of {key} had no effect")


def _add(log: Log, key: Key, place: Place, is_voided: bool, result: Recount) -> None:
    arrived = log.events[place]
    assert arrived.document is not None
    total_key = (key[0], period_start(log, key[0], occurred_at(arrived)), meter_of(key[1]))
    usage = result.totals.setdefault(total_key, Usage())
    if not is_voided:
        usage.quantity += Decimal(arrived.document["quantity"])
        usage.events += 1


def _document(arrived: Arrived) -> dict[str, Any]:
    assert arrived.document is not None
    return arrived.document


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
