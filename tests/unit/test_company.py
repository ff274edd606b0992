"""How long the broker holds usage back: not at all where somebody waits for a verdict, or did a moment ago."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aggregator.engine.company import ENOUGH_BYTES, Company
from schemas.reply import REPLY_TO


def record(*headers: str) -> Any:
    return SimpleNamespace(headers=[(name, b"") for name in headers])


async def held_after(company: Company, *batches: list[Any]) -> int:
    """What the next fetch waits for once these were read, in bytes."""
    consumer: Any = SimpleNamespace(_fetcher=SimpleNamespace(_fetch_min_bytes=company.fetch_min_bytes))
    company.follow(consumer)
    company.note(batches)
    return int(consumer._fetcher._fetch_min_bytes)


async def test_little_usage_is_held_back_for_the_linger() -> None:
    company = Company(20)
    assert (company.fetch_max_wait_ms, company.fetch_min_bytes) == (20, ENOUGH_BYTES)
    assert await held_after(company, [record(), record("traceparent")], [record()]) == ENOUGH_BYTES


async def test_nothing_is_held_back_for_a_second_after_somebody_waited() -> None:
    company, loop = Company(20), asyncio.get_running_loop()
    assert await held_after(company, [record()], [record("traceparent", REPLY_TO)]) == 1
    assert await held_after(company, [record()]) == 1
    loop.time = lambda before=loop.time: before() + 1.001  # type: ignore[method-assign,misc]
    assert await held_after(company, [record()]) == ENOUGH_BYTES


async def test_among_many_nobody_is_looked_for() -> None:
    assert await held_after(Company(20), [record(REPLY_TO)] * 200) == ENOUGH_BYTES


async def test_without_a_linger_nothing_is_held_back() -> None:
    company = Company(0)
    assert company.fetch_max_wait_ms == 100
    assert await held_after(company, [record()]) == 1
