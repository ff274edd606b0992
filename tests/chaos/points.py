"""The crash points: each wraps one function of the real thing, at a seam between two steps.

Imports stand inside, so that a part loads no more than itself.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.chaos.seams import Crash, Killer, after, before, before_call, replace

KILLED_WITHIN_SECONDS = 0.000_3
"""A small RocksDB write takes 0.05 to 0.2 ms: a kill at any moment of this time falls before, into or after it."""
ANSWER_LOST_SECONDS = 0.02
"""Long enough for a request to leave the process, on the loopback interface."""
COMMIT_SECONDS = 0.002
"""About what a COMMIT takes: a kill at any moment of this time falls before, into or after it."""


# The aggregator. All of its producers are transactional.


def begun(crash: Crash) -> None:
    """A transaction has begun, and nothing was produced."""
    from aiokafka import AIOKafkaProducer

    after(AIOKafkaProducer, "begin_transaction", crash)


def uncommitted(crash: Crash) -> None:
    """Everything was produced, and EndTxn not sent."""
    from aiokafka import AIOKafkaProducer

    before(AIOKafkaProducer, "commit_transaction", crash)


def end_sent(crash: Crash) -> None:
    """EndTxn was sent, and its answer never comes."""
    from aiokafka.conn import AIOKafkaConnection

    def wrap(send: Any) -> Any:
        def sent(self: Any, request: Any, expect_response: bool = True) -> Any:
            answer = send(self, request, expect_response)
            if "EndTxn" not in type(request).__name__ or not crash.is_due():
                return answer
            asyncio.ensure_future(answer).cancel()
            asyncio.get_running_loop().call_later(ANSWER_LOST_SECONDS, crash.now)
            return asyncio.get_running_loop().create_future()

        return sent

    replace(AIOKafkaConnection, "send", wrap)


def committed(crash: Crash) -> None:
    """The broker has said that the transaction is committed, and nobody here knows it yet."""
    from aiokafka import AIOKafkaProducer

    after(AIOKafkaProducer, "commit_transaction", crash)


def _writes(act: Callable[[Callable[[], None]], None], crash: Crash) -> None:
    from aggregator.engine.tables import Tables

    def wrap(write: Any) -> Any:
        def wrote(*arguments: Any) -> None:
            if crash.is_due():
                act(lambda: write(*arguments))
            else:
                write(*arguments)

        return wrote

    replace(Tables, "write", wrap)


def unwritten(crash: Crash) -> None:
    """Committed to the log; the write to RocksDB has not begun."""
    _writes(lambda _: crash.now(), crash)


def writing(crash: Crash) -> None:
    """Inside the write to RocksDB, or within a fraction of a millisecond of it."""
    killer = Killer(KILLED_WITHIN_SECONDS)

    def act(write: Callable[[], None]) -> None:
        crash.note()
        killer.aim()
        write()
        killer.wait()

    _writes(act, crash)


def written(crash: Crash) -> None:
    """RocksDB has the batch, and nobody here knows it yet."""

    def act(write: Callable[[], None]) -> None:
        write()
        crash.now()

    _writes(act, crash)


def fenced(crash: Crash) -> None:
    """InitProducerId has returned, and the restore has not begun."""
    from aggregator.engine.changelog import Restore

    before(Restore, "run", crash)


def restoring(crash: Crash) -> None:
    """The restore has read, and the tables do not have it yet."""
    from aggregator.engine.changelog import Restore

    def wrap(run: Any) -> Any:
        async def ran(*arguments: Any) -> Any:
            unwritten(crash)  # the writes that follow are those of restores
            return await run(*arguments)

        return ran

    replace(Restore, "run", wrap)


# What writes to Postgres.


def _is_outermost(transaction: Any) -> bool:
    return not transaction._nested


def before_commit(crash: Crash) -> None:
    """All statements were sent, COMMIT not."""
    from asyncpg.transaction import Transaction

    before(Transaction, "_Transaction__commit", crash, _is_outermost)


def commit_sent(crash: Crash) -> None:
    """COMMIT was sent, and its answer never comes."""
    from asyncpg.transaction import Transaction

    def wrap(commit: Any) -> Any:
        async def committing(self: Any) -> None:
            if not _is_outermost(self) or not crash.is_due():
                await commit(self)
                return
            asyncio.get_running_loop().call_later(random.random() * COMMIT_SECONDS, crash.now)
            await commit(self)
            await asyncio.get_running_loop().create_future()

        return committing

    replace(Transaction, "_Transaction__commit", wrap)


def after_commit(crash: Crash) -> None:
    """COMMIT was answered, and nobody here knows it yet."""
    from asyncpg.transaction import Transaction

    after(Transaction, "_Transaction__commit", crash, _is_outermost)


# The gateway.


def acknowledged(crash: Crash) -> None:
    """The broker has acknowledged usage, and the client is not told."""
    from ingest.lane import Lane

    before_call(Lane, "_acknowledge", crash)


def unpublished(crash: Crash) -> None:
    """A change of the catalog is committed, and not sent to its topic."""
    from ingest.catalog.topic import CatalogTopic

    before_call(CatalogTopic, "send", crash)


def undated(crash: Crash) -> None:
    """A change of the catalog is in its topic, and its append time not in Postgres."""
    from ingest.catalog.following import Follower

    before(Follower, "_date", crash)


POINTS: dict[str, tuple[str, Callable[[Crash], None]]] = {
    "begun": ("aggregator", begun),
    "uncommitted": ("aggregator", uncommitted),
    "end-sent": ("aggregator", end_sent),
    "committed": ("aggregator", committed),
    "unwritten": ("aggregator", unwritten),
    "writing": ("aggregator", writing),
    "written": ("aggregator", written),
    "fenced": ("aggregator", fenced),
    "restoring": ("aggregator", restoring),
    "closer-before-commit": ("closer", before_commit),
    "closer-commit-sent": ("closer", commit_sent),
    "closer-after-commit": ("closer", after_commit),
    "projector-before-commit": ("projector", before_commit),
    "projector-after-commit": ("projector", after_commit),
    "gateway-before-commit": ("gateway", before_commit),
    "gateway-after-commit": ("gateway", after_commit),
    "gateway-acknowledged": ("gateway", acknowledged),
    "gateway-unpublished": ("gateway", unpublished),
    "gateway-undated": ("gateway", undated),
}
"""Each point with the part that passes it."""
