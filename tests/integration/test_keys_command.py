"""`tally keys` and a gateway: what a key may do is what was said when it was made."""

import asyncio

from tests.integration.catalog_world import World
from tests.integration.running_gateway import RunningGateway, new_topics


async def create(world: World, *flags: str) -> tuple[str, str]:
    """Id and key of a new key."""
    code, out, errors = await world.tally("keys", "create", "app", *flags)
    assert (code, errors) == (0, "")
    key_id, key = out.split()
    return key_id, key


async def statuses(gateway: RunningGateway, key: str, count: int) -> list[int]:
    return [(await gateway.get("/services", key)).status_code for _ in range(count)]


async def test_limit_of_a_key_is_shown_and_kept(kafka_bootstrap: str, postgres_dsn: str, database_url: str) -> None:
    world = World(kafka_bootstrap, await new_topics(kafka_bootstrap, 1), database_url, postgres_dsn)
    async with world.gateway(requests_per_second=1_000) as gateway:
        (slow_id, slow), (other_id, other) = await asyncio.gather(
            create(world, "--scope", "read", "--requests-per-second", "2"), create(world, "--service", "svc")
        )
        _, listed, _ = await world.tally("keys", "list")
        lines = {line.split("  ")[0]: line.split("  ")[1:] for line in listed.splitlines()}
        assert lines[slow_id] == ["live", "read", "all services", "2/s", "app"]
        assert lines[other_id][2:] == ["svc", "no limit", "app"]
        # Two seconds' worth, and what has come meanwhile: fewer than ten where ten requests take less than three.
        answered = await statuses(gateway, slow, 10)
        assert answered[:4] == [200] * 4
        assert set(answered[4:]) <= {200, 429}
        assert 429 in answered
        assert await statuses(gateway, other, 10) == [200] * 10
        code, _, errors = await world.tally("keys", "create", "app", "--requests-per-second", "0")
        assert (code, "must be a whole number of 1 or more" in errors) == (2, True)
