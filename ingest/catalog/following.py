"""The topic `catalog`, followed by its publishers: in its order, each record once, up to an offset kept in Postgres.

When a change of status happened is told by the first record of its version in the log, whoever wrote it and however
often it was written: a gateway that dies between publishing and storing leaves its record to be found here. So nothing
is dated by an acknowledgement, but by reading the topic, which has one order for all.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ingest.catalog.comparing import SQL, compare
from ingest.catalog.dating import dated
from ingest.catalog.log import CatalogLog, Published, Reading
from schemas.errors import OperatorError
from schemas.timestamps import timestamp_text

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

AppendTimes = Mapping[str, Mapping[int, int]]
"""By key and version, in ms."""

_SUBSCRIPTION: Final = "subscription/"


class Follower:
    """Dates what is published. One at a time: who follows holds the row of the offset until its transaction ends.
    Raises BrokerAway where the topic can't be read."""

    def __init__(self, reading: Reading, log: CatalogLog) -> None:
        self.lost: dict[str, int] = {}
        """See comparing.compare()."""
        self._reading = reading
        self._topic = log.topic

    async def compare(self, connection: "Connection") -> None:
        """Read what was published since the database was last told of it. Raises CatalogAhead where it was another, and
        OperatorError where the topic was."""
        await connection.execute(SQL["begin_following"], self._topic)
        offset: int = await connection.fetchval(SQL["followed"], self._topic)
        if (end := await self._reading.end()) < offset:
            raise OperatorError(
                f"The topic {self._topic} ends at {end}, and Postgres has followed it up to {offset}: it is another"
                " topic; check TALLY_KAFKA and TALLY_TOPIC_PREFIX, or run 'tally catalog republish' where it was made"
                " anew."
            )
        self._reading.go_to(offset)
        async for entries in self._reading.rest():
            self.lost |= await compare(connection, self._topic, entries)

    async def take_turn(self, connection: "Connection") -> bool:
        """Begin to follow, in a transaction; False where another publisher does."""
        offset: int | None = await connection.fetchval(SQL["take_turn"], self._topic)
        if offset is not None:
            self._reading.go_to(offset)
        return offset is not None

    async def follow(self, connection: "Connection") -> tuple[int, list[tuple[str, dict[str, Any]]]]:
        """Date what was published, up to the topic's end; returns how many versions got their date, and the entries
        that must be published once more, with all their times."""
        count = 0
        twice: set[str] = set()
        async for entries in self._reading.rest():
            self.lost |= await compare(connection, self._topic, entries)
            firsts, repeated = await self._sort(connection, entries)
            if firsts:
                await self._date(connection, firsts)
            count += len(firsts)
            twice |= repeated
        await connection.execute(SQL["followed_to"], self._topic, self._reading.next_offset)
        return count, await _newest(connection, twice)

    async def _sort(
        self, connection: "Connection", entries: Sequence[Published]
    ) -> tuple[list[tuple["asyncpg.Record", int]], set[str]]:
        """The rows of the outbox that these records publish for the first time, each with its append time in ms; and
        the keys of records that came again and must not stay the last of their key, which is all that compaction
        leaves: one that would be dated by itself, or a version that is not the newest."""
        keys, versions = [entry.key for entry in entries], [entry.version for entry in entries]
        rows = {(row["key"], row["version"]): row for row in await connection.fetch(SQL["rows"], keys, versions)}
        times = {place: row["appended_at"] for place, row in rows.items()}
        newest = {key: row["newest"] for (key, _), row in rows.items()}
        firsts: list[tuple[asyncpg.Record, int]] = []
        repeated: set[str] = set()
        for entry in entries:
            place = entry.key, entry.version
            if place not in rows:
                continue
            if times[place] is None:
                times[place] = entry.at
                newest[entry.key] = max(newest[entry.key], entry.version)
                firsts.append((rows[place], entry.at))
            elif times[place] != entry.at and not (entry.is_dated and entry.version == newest[entry.key]):
                repeated.add(entry.key)
        return firsts, repeated

    async def _date(self, connection: "Connection", firsts: "Sequence[tuple[asyncpg.Record, int]]") -> None:
        times = await append_times(connection, [row["key"] for row, _ in firsts])
        for row, at in firsts:
            times.setdefault(row["key"], {})[row["version"]] = at
        payloads = [
            json.dumps(dated(json.loads(row["payload"]), times[row["key"]]), ensure_ascii=False) for row, _ in firsts
        ]
        seqs, ats = [row["seq"] for row, _ in firsts], [at for _, at in firsts]
        await connection.execute(SQL["mark_published"], seqs, ats, payloads)
        changes = [
            (row["key"].removeprefix(_SUBSCRIPTION), row["version"], timestamp_text(at))
            for row, at in firsts
            if row["key"].startswith(_SUBSCRIPTION)
        ]
        for version in sorted({version for _, version, _ in changes}):  # one change of a row in each statement
            some = [change for change in changes if change[1] == version]
            await connection.execute(SQL["date_transitions"], *map(list, zip(*some, strict=True)))


async def append_times(connection: "Connection", keys: Sequence[str]) -> dict[str, dict[int, int]]:
    """When the versions of these keys were first appended, of those that were."""
    times: dict[str, dict[int, int]] = {}
    for row in await connection.fetch(SQL["append_times"], keys):
        times.setdefault(row["key"], {})[row["version"]] = row["at"]
    return times


async def _newest(connection: "Connection", keys: set[str]) -> list[tuple[str, dict[str, Any]]]:
    if not keys:
        return []
    rows = await connection.fetch(SQL["newest_published"], "", "%", list(keys), len(keys))
    return [(row["key"], json.loads(row["payload"])) for row in rows]
