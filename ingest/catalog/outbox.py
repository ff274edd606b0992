"""From Postgres to the topic `catalog`: what was changed is published, in order, until it is.

A change and its outbox row are one transaction. Publishing the row is a second step: the broker appends the entry, and
then it is found in the topic, which gives the change of status its time, tells whoever waits for it, and marks the row.
A crash between any two of them leaves the row unmarked. The next turn of any gateway first looks at what is in the
topic, and so publishes no entry twice but one that was still on its way; how that is told apart, see following.

One gateway publishes at a time: the one that holds the row of how far the topic is followed. A gateway that hangs
while it does loses its transaction, and with it the row, by Postgres's idle_in_transaction_session_timeout.
"""

import asyncio
import json
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from ingest.broker import BrokerAway
from ingest.catalog.comparing import SQL, CatalogAhead
from ingest.catalog.dating import dated
from ingest.catalog.following import Follower, append_times
from ingest.catalog.log import CatalogLog
from ingest.catalog.topic import CatalogTopic, NotTaken
from ingest.database import Database, DatabaseAway
from ingest.metrics import OUTBOX_AGE, OUTBOX_BACKLOG, OUTBOX_FAILURES

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

logger = logging.getLogger(__name__)

CHANNEL: Final = "catalog_outbox"

_ROWS_MAX: Final = 500
_POLL_SECONDS: Final = 1.0
_WAITED_POLL_SECONDS: Final = 0.05
"""While a request waits for a row that another gateway may be publishing."""


async def announce(connection: "Connection", key: str, version: int, entry: dict[str, Any]) -> int:
    """Write the outbox row of a change, in its transaction; returns the row's number, to wait for."""
    return int(await connection.fetchval(SQL["announce"], key, version, json.dumps(entry, ensure_ascii=False)))


async def unannounced(connection: "Connection", key: str) -> int | None:
    """The number of the newest row of this key that is not published yet, None where all are."""
    number: int | None = await connection.fetchval(SQL["unannounced"], key)
    return number


class Outbox:
    """Publishes the outbox of a database; any number of gateways may do so at once."""

    def __init__(self, database: Database, topic: CatalogTopic, log: CatalogLog) -> None:
        self._database = database
        self._topic = topic
        self._log = log
        self._compared = asyncio.Event()
        self._wake = asyncio.Event()
        self._waiting: dict[int, list[asyncio.Future[None]]] = defaultdict(list)
        # By row, until the topic has shown it. A publication outlives the turn in which it was begun: see
        # CatalogTopic.send().
        self._sent: dict[int, asyncio.Future[int]] = {}

    @property
    def is_compared(self) -> bool:
        """Whether this database is known to have all that was published."""
        return self._compared.is_set()

    async def compared(self) -> None:
        """Return once it is: before that, a change could be made to what an older backup holds."""
        await self._compared.wait()

    async def published(self, seq: int) -> None:
        """Return once a row is published and its append time stored."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[seq].append(future)
        self._wake.set()
        try:
            await future
        finally:
            self._waiting[seq].remove(future)
            if not self._waiting[seq]:
                del self._waiting[seq]

    async def run(self) -> None:
        """Publish for ever. Raises OperatorError, of which CatalogAhead is one."""
        while True:
            try:
                async with self._database.session() as connection:
                    await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
                    connection.add_termination_listener(lambda _: self._compared.clear())
                    while True:
                        await self._follow(connection)
            except DatabaseAway as error:
                logger.warning("the catalog's outbox waits for Postgres: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _follow(self, connection: "Connection") -> None:
        """Take turns for as long as Kafka answers."""
        try:
            async with self._log.reading() as reading:
                follower = Follower(reading, self._log)
                await follower.compare(connection)
                self._compared.set()
                while True:
                    await self._publish_all(connection, follower)
                    await self._pause()
        except BrokerAway as error:
            OUTBOX_FAILURES.inc()
            logger.warning("the catalog's outbox waits for Kafka: %s", error)
            await self._tell(connection)
            await _show_backlog(connection)
            await asyncio.sleep(_POLL_SECONDS)

    async def _publish_all(self, connection: "Connection", follower: Follower) -> None:
        self._wake.clear()
        try:
            while await self._publish_some(connection, follower):
                await self._tell(connection)
        except NotTaken as error:
            OUTBOX_FAILURES.inc()
            logger.warning("the catalog's outbox waits for Kafka: %s", error)
        await self._tell(connection)
        await _show_backlog(connection)

    async def _publish_some(self, connection: "Connection", follower: Follower) -> bool:
        """A turn: date what is in the topic, publish the oldest unpublished version of some keys, and date them.
        Returns whether any was published. Raises NotTaken where the broker did not take an entry; others went out.

        Where Kafka is away for longer than Postgres bears an idle transaction, Postgres ends it; the publication goes
        on, and a later turn finds it in the topic.
        """
        async with connection.transaction():
            if not await follower.take_turn(connection):
                return False  # the gateway whose turn it is notifies
            await self._date(connection, follower)
            rows = await connection.fetch(SQL["take_unpublished"], _ROWS_MAX, list(self._sent))
            times = await append_times(connection, [row["key"] for row in rows])
            for row in rows:
                self._send(row, times.get(row["key"], {}), follower.lost)
            if self._sent:
                await asyncio.wait(self._sent.values())
            count = await self._date(connection, follower)
            unshown = {row["seq"] for row in await connection.fetch(SQL["unpublished"], list(self._sent))}
            failures = [error for future in self._sent.values() if (error := future.exception()) is not None]
            self._sent = {
                seq: future for seq, future in self._sent.items() if seq in unshown and future.exception() is None
            }
        for failure in failures:
            raise failure
        return count > 0

    async def _date(self, connection: "Connection", follower: Follower) -> int:
        """Date what is in the topic, and publish once more what must not stay as it is there."""
        count, twice = await follower.follow(connection)
        if twice:
            logger.warning("published again, with all times: %s", ", ".join(key for key, _ in twice))
            await asyncio.gather(*(self._topic.send(key.encode(), _value(entry)) for key, entry in twice))
        return count

    def _send(self, row: "asyncpg.Record", times: dict[int, int], lost: dict[str, int]) -> None:
        if row["version"] <= lost.get(row["key"], 0):
            raise CatalogAhead(self._log.topic, row["key"], lost[row["key"]], row["version"])
        self._sent[row["seq"]] = self._topic.send(row["key"].encode(), _value(dated(json.loads(row["payload"]), times)))

    async def _tell(self, connection: "Connection") -> None:
        if self._waiting:
            for row in await connection.fetch(SQL["published"], list(self._waiting)):
                for future in self._waiting.get(row["seq"], ()):
                    if not future.done():
                        future.set_result(None)

    async def _pause(self) -> None:
        seconds = _WAITED_POLL_SECONDS if self._waiting else _POLL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


async def _show_backlog(connection: "Connection") -> None:
    backlog = await connection.fetchrow(SQL["backlog"])
    assert backlog is not None, "it is one row"
    OUTBOX_BACKLOG.set(backlog["changes"])
    OUTBOX_AGE.set(backlog["age_seconds"])


def _value(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
