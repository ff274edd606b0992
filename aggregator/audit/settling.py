"""Which verdict each record must have, and whether it has that one and no other.

Whatever depends on one event alone is in the scratch database already. What is left is rule 4: of the events with the
same key the first valid one counts, and the others are duplicates. Between the two sources of a partition the order in
which a worker read them is not known. Where both hold a valid event of a key, the first valid one of either may be the
one that counts; which it was is taken from the verdicts, and that there is no other is checked.
"""

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aggregator.audit.places import id_of
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import Rows, execute_all, queries
from schemas.rejection import Reason

DUPLICATE: Final = f" {Reason.DUPLICATE_EVENT_KEY} "

NEVER: Final = 1 << 62

_SQL = queries("partition.sql")


class Candidate(NamedTuple):
    """A record whose key decides, in the order of its source. `refused` are the codes that refuse it for a reason of
    its own; none where it is valid."""

    place: int
    source: int
    refused: str
    content: bytes
    is_counted: bool


def settle_keys(database: sqlite3.Connection, since: int) -> None:
    """Write what rule 4 makes of each event into the database. `since`: see kept_since()."""
    database.execute(_SQL["forgive"], (since,))
    execute_all(database, _SQL["tables_of_settling"])
    with Rows(database, _SQL["put_settled"]) as rows:
        for _, group in groupby(database.execute(_SQL["repeated_keys"]), itemgetter(0)):
            for place, codes in settled([Candidate(*row[1:]) for row in group]).items():
                rows.add(place, codes)
    database.execute(_SQL["expect_what_is_settled"])


def settled(candidates: list[Candidate]) -> dict[int, str]:
    """What is expected of each event of one key: nothing (it counts), or the codes of which any is right."""
    firsts = {candidate.source: candidate for candidate in reversed(candidates) if not candidate.refused}
    if not firsts:
        return {candidate.place: candidate.refused for candidate in candidates}
    first = next((first for first in firsts.values() if first.is_counted), firsts[min(firsts)])
    expected = {}
    is_after = False
    for candidate in candidates:
        if candidate.place == first.place:
            is_after = True
            expected[candidate.place] = ""
        elif candidate.source != first.source:
            expected[candidate.place] = _beside(candidate, first)
        else:
            expected[candidate.place] = _after(candidate, first) if is_after else candidate.refused
    return expected


def _after(candidate: Candidate, first: Candidate) -> str:
    """An identical repeat is a duplicate whatever has happened since; else its own reasons come first."""
    is_identical = candidate.content == first.content
    return DUPLICATE if is_identical or not candidate.refused else candidate.refused


def _beside(candidate: Candidate, first: Candidate) -> str:
    """Of the other source: before or after it, nobody knows."""
    after = _after(candidate, first)
    return after if after == candidate.refused or not candidate.refused else after + candidate.refused


def kept_since(database: sqlite3.Connection, rejected_beginning: int) -> int:
    """The time (ms) since which all that was rejected is still there: `rejected-usage` is kept for 35 days only, and
    of what was refused before there is nothing but the ledger's counts."""
    if rejected_beginning == 0:
        return 0
    row = database.execute(_SQL["beginning_of_rejected"]).fetchone()
    return NEVER if row is None else int(row[0])


class Verdict(NamedTuple):
    """A record and what was found of it, where that is not what must be."""

    place: int
    source: int
    seen: int
    at: int
    expected: str
    accepted_times: int
    accepted_seen: int | None
    voided_times: int
    voided_seen: int | None
    rejected_times: int
    rejected_seen: int | None
    code: str | None
    is_altered: int | None
    version_min: int | None
    version_max: int | None
    version: int | None
    voided_version: int | None

    @property
    def found(self) -> list[str]:
        """The verdicts it has."""
        times = ((self.accepted_times, "accepted"), (self.voided_times, "voided"), (self.rejected_times, self.code))
        return [str(name) for count, name in times for _ in range(count)]


class Comparison:
    """The records of a partition beside their verdicts."""

    def __init__(self, partition: int, database: sqlite3.Connection, findings: Findings) -> None:
        self._partition = partition
        self._database = database
        self._findings = findings

    def run(self, since: int) -> Iterator[Verdict]:
        """Compare. Yields the accepted events that are not recorded as they must be: their fields have to be read again
        to say where. `since`: see kept_since()."""
        _, _, judged, _, _ = self._database.execute(_SQL["row_counts"]).fetchone()
        for check in (Check.VERDICTS, Check.JUDGEMENTS, Check.UNIQUENESS, Check.ACCEPTED, Check.REJECTED):
            self._findings.compare(check, judged)
        for row in self._database.execute(_SQL["disagreeing"]):
            verdict = Verdict(*row)
            if verdict.expected == "" and verdict.found in (["accepted"], ["voided"], ["accepted", "voided"]):
                yield verdict
            elif verdict.expected == "" or verdict.found or verdict.at >= since:
                self._report(verdict)
        self._report_verdicts_without_record()
        self._compare_strays(since)

    def _report(self, verdict: Verdict) -> None:
        found, expected = verdict.found, verdict.expected.split() or ["accepted"]
        if not found:
            self._disagree(Check.VERDICTS, verdict, "{} has no verdict.", expected, None)
        elif len(found) > 1:
            self._disagree(Check.VERDICTS, verdict, "{} has more than one verdict.", expected, found)
        elif expected == ["accepted"]:
            self._disagree(Check.JUDGEMENTS, verdict, "{} was refused, and is valid.", expected, found)
        elif found[0] in ("accepted", "voided") and Reason.DUPLICATE_EVENT_KEY in expected:
            what = "{} was accepted, and its key was taken."
            self._disagree(Check.UNIQUENESS, verdict, what, expected, found)
        elif found[0] in ("accepted", "voided"):
            self._disagree(Check.JUDGEMENTS, verdict, "{} was accepted, and is not valid.", expected, found)
        elif found[0] not in expected and found[0] != Reason.PROCESSING_FAILED:
            self._disagree(Check.JUDGEMENTS, verdict, "{} was refused for another reason.", expected, found)
        else:
            what = "What is kept of {} is not the record as it arrived."
            self._disagree(Check.REJECTED, verdict, what, "the same key, value, headers and time", "others")

    def _disagree(self, check: Check, verdict: Verdict, what: str, expected: Any, found: Any) -> None:
        event_id = id_of(verdict.place)
        self._findings.disagree(
            check,
            what.format(f"The event {event_id}"),
            partition=self._partition,
            offset=verdict.seen,
            id=event_id,
            expected=expected,
            found=found,
        )

    def _report_verdicts_without_record(self) -> None:
        for topic, seen, place, is_aborted, is_sent in self._database.execute(_SQL["without_record"]):
            if is_aborted:
                what = "was in a transaction that was aborted, and has a verdict"
            elif is_sent:
                what = "was forwarded, and has a verdict where it arrived"
            else:
                what = "has a verdict, and is no record that was to be decided here"
            self._without_record(topic, seen, f"{id_of(place)} {what}.", id_of(place))
        for place, seen in self._database.execute(_SQL["arrivals_without_record"]):
            self._without_record(
                "rejected-usage", seen, f"Offset {place} of usage-forwarded holds no such record.", None
            )

    def _without_record(self, topic: str, seen: int, what: str, event_id: str | None) -> None:
        self._findings.disagree(
            Check.VERDICTS, what, partition=self._partition, offset=seen, id=event_id, expected=None, found=topic
        )

    def _compare_strays(self, since: int) -> None:
        for seen, at, code, times, is_same in self._database.execute(_SQL["strays"]):
            self._findings.compare(Check.VERDICTS)
            if code is None and at < since:
                continue
            if (code, times) != (Reason.PROCESSING_FAILED, 1) or not is_same:
                self._findings.disagree(
                    Check.VERDICTS,
                    "A record of usage-forwarded that no worker wrote must be refused once, and kept as it is.",
                    partition=self._partition,
                    offset=seen,
                    expected=Reason.PROCESSING_FAILED,
                    found=code,
                )
