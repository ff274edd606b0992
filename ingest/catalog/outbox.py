"""From Postgres to the topic `catalog`: what was changed is published, in order, until it is.

A change and its outbox row are one transaction. Publishing the row is a second step, with three more: the broker
appends the entry, its append time is stored as the time of the change of status, and whoever waits for it is told. A
crash between any two of them leaves the row unpublished, and the next pass of any gateway repeats the step. Readers
ignore a version that they have, so a repeated publication does no harm.

Before the first publication of a connection to Postgres, which may have been restored from a backup just before, the
database is compared with the topic. One that is older halts the publisher: see comparing.
"""

import asyncio
import json
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from ingest.broker import BrokerAway
from ingest.catalog.comparing import CatalogAhead, compare
from ingest.catalog.dating import dated
from ingest.catalog.log import CatalogLog
from ingest.catalog.topic import CatalogTopic
from ingest.database import Database, DatabaseAway
from ingest.metrics import OUTBOX_BACKLOG, OUTBOX_FAILURES
from ingest.queries import named_queries
from schemas.timestamps import timestamp_text

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

logger = logging.getLogger(__name__)

SQL: Final = named_queries("ingest.catalog")
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
        self._lost: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._waiting: dict[int, list[asyncio.Future[None]]] = defaultdict(list)
        # By row. A publication outlives the transaction in which it was begun: see CatalogTopic.send().
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
                    await self._compare(connection)
                    while True:
                        await self._publish_all(connection)
                        await self._pause()
            except DatabaseAway as error:
                logger.warning("the catalog's outbox waits for Postgres: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _compare(self, connection: "Connection") -> None:
        while not self._compared.is_set():
            try:
                self._lost = await compare(connection, self._log)
            except BrokerAway as error:
                logger.warning("the catalog's outbox waits for Kafka: %s", error)
                await asyncio.sleep(_POLL_SECONDS)
            else:
                self._compared.set()

    async def _publish_all(self, connection: "Connection") -> None:
        self._wake.clear()
        try:
            while await self._publish_some(connection):
                await self._tell(connection)
        except BrokerAway as error:
            OUTBOX_FAILURES.inc()
            logger.warning("the catalog's outbox waits for Kafka: %s", error)
        await self._tell(connection)
        OUTBOX_BACKLOG.set(await connection.fetchval(SQL["backlog"]))

    async def _publish_some(self, connection: "Connection") -> int:
        """Publish the oldest unpublished version of some keys, and store their append times; returns how many.

        The rows stay locked meanwhile, so that no other gateway publishes them too. Where Kafka is away for longer
        than Postgres bears an idle transaction, Postgres ends it; the publication goes on and is found again here.
        """
        async with connection.transaction():
            rows = await connection.fetch(SQL["take_unpublished"], _ROWS_MAX)
            if not rows:
                self._forget_published()
                return 0
            times = await self._append_times(connection, rows)
            for row in rows:
                self._send(row, times[row["key"]])
            await asyncio.wait([self._sent[row["seq"]] for row in rows])
            outcomes = {row["seq"]: self._outcome(row["seq"]) for row in rows}
            published = {seq: at for seq, at in outcomes.items() if isinstance(at, int)}
            await self._store(connection, [row for row in rows if row["seq"] in published], published, times)
        for seq in published:
            del self._sent[seq]
        for outcome in outcomes.values():
            if isinstance(outcome, BrokerAway):
                raise outcome
        return len(rows)

    def _forget_published(self) -> None:
        """What was sent and is published all the same: by another gateway, while this one had lost its connection."""
        self._sent = {seq: future for seq, future in self._sent.items() if not future.done()}

    async def _append_times(
        self, connection: "Connection", rows: list["asyncpg.Record"]
    ) -> defaultdict[str, dict[int, int]]:
        times: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for row in await connection.fetch(SQL["append_times"], [row["key"] for row in rows]):
            times[row["key"]][row["version"]] = row["at"]
        return times

    def _send(self, row: "asyncpg.Record", times: dict[int, int]) -> None:
        if row["version"] <= self._lost.get(row["key"], 0):
            raise CatalogAhead(self._log.topic, row["key"], self._lost[row["key"]], row["version"])
        if row["seq"] not in self._sent:
            entry = dated(json.loads(row["payload"]), times)
            value = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
            self._sent[row["seq"]] = self._topic.send(row["key"].encode(), value)

    def _outcome(self, seq: int) -> int | BrokerAway:
        """The append time of what was sent, or why it will be sent again."""
        try:
            return self._sent[seq].result()
        except BrokerAway as error:
            del self._sent[seq]
            return error

    async def _store(
        self,
        connection: "Connection",
        rows: list["asyncpg.Record"],
        published: dict[int, int],
        times: dict[str, dict[int, int]],
    ) -> None:
        payloads = [
            json.dumps(
                dated(json.loads(row["payload"]), {**times[row["key"]], row["version"]: published[row["seq"]]}),
                ensure_ascii=False,
            )
            for row in rows
        ]
        await connection.execute(SQL["mark_published"], list(published), list(published.values()), payloads)
        changes = [
            (row["key"].removeprefix("subscription/"), row["version"], timestamp_text(published[row["seq"]]))
            for row in rows
            if row["key"].startswith("subscription/")
        ]
        if changes:
            await connection.execute(SQL["date_transitions"], *map(list, zip(*changes, strict=True)))

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
