"""Voids: what `usage-corrections` holds, read anew, and what must become of each."""

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from aggregator.audit.canonical import compact
from aggregator.audit.events import Codes, object_of, text_of
from aggregator.audit.places import id_of, place_of_id
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import queries
from schemas.rejection import Reason

KEY_PARTS = (2, 3)

_SQL = queries("partition.sql")


class Void(NamedTuple):
    """A well-formed void: the place of the event that it takes back, and the digest of that one's unique key."""

    place: int
    key: bytes


def void_of(value: bytes | None) -> Void | Codes:
    """The void in a record, or the codes that it may be refused with: any of what is wrong."""
    document = object_of(value)
    if isinstance(document, frozenset):
        return document
    wrong: set[str] = set()
    parts = document.get("uniqueKey")
    if not isinstance(parts, list) or len(parts) not in KEY_PARTS:
        wrong |= {Reason.FIELD_INVALID, Reason.FIELD_REQUIRED}
        parts = []
    key: list[str] = []
    for text in (text_of(document.get("reason")), *map(text_of, parts)):
        if isinstance(text, frozenset):
            wrong |= text
        else:
            key.append(text)
    place = place_of_id(document.get("id"))
    if place is None:
        wrong |= {Reason.FIELD_INVALID, Reason.FIELD_REQUIRED}
    if wrong or place is None:
        return frozenset(wrong)
    return Void(place, key_digest(compact(key[1:])))


def key_digest(key: bytes) -> bytes:
    """16 bytes for a unique key."""
    return blake2b(key, digest_size=16).digest()


def settle_corrections(database: sqlite3.Connection, partition: int, findings: Findings, since: int) -> dict[str, int]:
    """Which voids apply, and whether those were applied. Returns how many were applied, repeated and refused."""
    counts = {"voids": 0, "voidsRepeated": 0, "voidsRejected": 0}
    applied: dict[int, int] = {}
    for seen, at, expected, place, is_of_counted, code, times, is_same, was_too_early in database.execute(
        _SQL["corrections"]
    ):
        findings.compare(Check.CORRECTIONS)
        is_refused = not is_of_counted or (code == Reason.EVENT_NOT_RECORDED and was_too_early)
        codes: Iterable[str] = expected.split() or ([Reason.EVENT_NOT_RECORDED] if is_refused else ())
        if codes:
            counts["voidsRejected"] += 1
            is_right = (times == 1 and code in codes and is_same) or (times == 0 and at < since)
        else:
            counts["voidsRepeated" if place in applied else "voids"] += 1
            applied.setdefault(place, at)
            is_right = times == 0
        if not is_right:
            what = "A void has another verdict than it must have."
            place_ = {"partition": partition, "offset": seen, "id": None if place is None else id_of(place)}
            findings.disagree(Check.CORRECTIONS, what, expected=sorted(codes) or "applied", found=code, **place_)
    database.executemany(_SQL["put_applied"], applied.items())
    for place, at, updated_at, seen in database.execute(_SQL["wrongly_voided"]):
        what = f"The event {id_of(place)} is not voided when its void says, or voided without one."
        place_ = {"partition": partition, "offset": seen, "id": id_of(place)}
        findings.disagree(Check.CORRECTIONS, what, expected=at, found=updated_at, **place_)
    for place, seen in database.execute(_SQL["corrections_without_record"]):
        what = f"A refused void is none of usage-corrections, where it is said to be at offset {place}."
        findings.disagree(Check.CORRECTIONS, what, partition=partition, offset=seen)
    return counts
