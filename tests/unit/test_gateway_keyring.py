"""The API keys in memory: which callers they know, and when they are read again."""

import asyncio
import signal
from typing import Any, cast

from ingest.database import Database
from ingest.gateway.keyring import Keyring
from ingest.keys import ApiKey, Scope
from schemas.rejection import Reason, Rejection
from tests.unit.gateway_in_memory import GatewayInMemory, KeysInMemory, key_text
from tests.unit.test_gateway_front import summary
from tests.unit.test_gateway_usage_events import event


async def test_new_key_is_known_at_once() -> None:
    gateway = GatewayInMemory()
    assert (await gateway.post_event(event())).status_code == 202
    new = gateway.keys.add(key_text("n"), list(Scope))
    assert (await gateway.post_event(event(), authorization=f"Bearer {new}")).status_code == 202


async def test_unknown_keys_do_not_ask_the_database_each() -> None:
    gateway = GatewayInMemory()
    posts = [gateway.post_event(event(), authorization=f"Bearer {key_text(letter)}") for letter in "bcdefghijklmnop"]
    assert {answer.status_code for answer in await asyncio.gather(*posts)} == {401}
    assert gateway.keys.reads <= 2


async def test_caller_who_comes_at_the_very_end_of_a_look_begins_another_one() -> None:
    """Else the gateway would wait for the one that is over, without end and without a pause."""

    class Crowded(KeysInMemory):
        async def fetch(self, query: str) -> list[dict[str, Any]]:
            if not others:  # it runs after this look is over, and before anybody has been told so
                others.append(asyncio.create_task(ring.holder(f"Bearer {key_text('c')}".encode())))
            return await super().fetch(query)

    def stuck(*_: object) -> None:
        raise AssertionError("the keyring goes round in circles")

    others: list[asyncio.Task[ApiKey | Rejection]] = []
    keys = Crowded()
    ring = Keyring(cast(Database, keys), 5)
    before = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(5)
    try:
        assert await ring.holder(f"Bearer {key_text('b')}".encode()) == Rejection.of(Reason.UNAUTHORIZED)
        assert await others[0] == Rejection.of(Reason.UNAUTHORIZED)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert keys.reads == 2


async def test_known_keys_stay_valid_while_postgres_is_away_and_unknown_ones_are_a_503() -> None:
    gateway = GatewayInMemory()
    gateway.keys.away = True
    assert summary(await gateway.post_event(event())) == (503, "unavailable")
    gateway.keys.away = False
    assert (await gateway.post_event(event())).status_code == 202
    gateway.keys.away = True
    assert (await gateway.post_event(event())).status_code == 202


async def test_revoked_key_is_refused_once_the_keys_are_read_again() -> None:
    gateway = GatewayInMemory()
    assert (await gateway.post_event(event())).status_code == 202
    gateway.keys.rows.clear()
    await gateway.keyring.load()
    assert summary(await gateway.post_event(event())) == (401, "unauthorized")
