"""Who may write invoices: one closer at a time, the holder of the newest epoch."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from aggregator.sql import queries

NAME: Final = "closer"

_SQL = queries(__package__)


class LeaseLost(Exception):
    """Another closer has taken over; this one may write nothing more."""


@dataclass(slots=True, frozen=True)
class Lease:
    """The right to write under one epoch. It lasts until another closer raises the epoch, which it may once the lease
    was not renewed for `seconds`."""

    epoch: int
    seconds: int

    async def renew(self, connection: asyncpg.Connection) -> None:
        """Check and renew the lease; nobody can take it over before the caller's transaction ends. Raises LeaseLost."""
        if await connection.fetchval(_SQL["renew_lease"], NAME, self.epoch, self.seconds) is None:
            raise LeaseLost

    async def release(self, connection: asyncpg.Connection) -> None:
        """Let the next closer take over at once."""
        await connection.execute(_SQL["release_lease"], NAME, self.epoch)


async def take_lease(connection: asyncpg.Connection, holder: str, seconds: int) -> Lease | None:
    """The lease under a new epoch; None while another closer holds it."""
    epoch = await connection.fetchval(_SQL["take_lease"], NAME, holder, seconds)
    return None if epoch is None else Lease(epoch, seconds)
