"""The nemeses. Each does one harm to one part and returns when that is over; nothing is left that must be healed."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.chaos.battle import Battle
from tests.chaos.parts import now_ms
from tests.chaos.points import POINTS
from tests.chaos.stack import CLOSER, GATEWAY, KAFKA, POSTGRES, PROJECTOR, WORKER, eventually, until

Nemesis = Callable[[Battle], Awaitable[None]]

SESSION_SECONDS = 6.0
LEASE_SECONDS = 2.0
REACHED_SECONDS = 20.0
COPIES_MAX = 4

STANDBY = "closer-standby"


def killer(kind: str) -> Nemesis:
    """SIGKILL at a random moment."""

    async def act(battle: Battle) -> None:
        with battle.claim(kind) as name:
            if name is not None:
                await asyncio.sleep(battle.chance.random())
                await battle.kill(f"kill {kind}", name)

    return act


async def take_over(battle: Battle) -> None:
    """Take a worker's partitions from it at a random phase of its work, and wait until they have an owner again."""
    with battle.claim(WORKER) as name:
        if name is None or len(battle.stack.workers) < 2:
            return
        owned = await eventually(battle.stack.partitions_of, name, bool)
        await asyncio.sleep(1.5 * battle.chance.random())
        if battle.chance.random() < 0.75:
            await battle.kill("take over", name)
        else:
            await battle.take_down("take over", name, signal.SIGTERM)
            await battle.stack.start(name, wait=False)
        await eventually(_owned, battle, owned.issubset)


async def _owned(battle: Battle) -> set[int]:
    return set().union(*[await battle.stack.partitions_of(name) for name in battle.stack.workers])


def _writes(metrics: dict[str, float]) -> bool:
    return metrics.get("tally_closer_lease_epoch", 0) > 0


async def zombie_worker(battle: Battle) -> None:
    """Stop a worker for longer than its session, and let it go on: others have its partitions by then."""
    with battle.claim(WORKER) as name:
        if name is None or len(battle.stack.workers) < 2:
            return
        await eventually(battle.stack.partitions_of, name, bool)
        battle.note("zombie worker", name)
        battle.stack.freeze(name)
        try:
            await asyncio.sleep(SESSION_SECONDS + 2 + 2 * battle.chance.random())
        finally:
            battle.stack.thaw(name)
        await asyncio.sleep(1)


async def zombie_closer(battle: Battle) -> None:
    """Stop the closer for longer than its lease, with another one waiting for it."""
    with battle.claim(CLOSER) as name, battle.hold(STANDBY):
        if name != CLOSER or STANDBY in battle.stack.names():
            return
        stack = battle.stack
        await eventually(stack.metrics, name, _writes)
        battle.note("zombie closer", name)
        await stack.add_closer(STANDBY, wait=False)
        try:
            await asyncio.sleep(1.5)
            stack.freeze(name)
            await asyncio.sleep(LEASE_SECONDS + 1 + 2 * battle.chance.random())
        finally:
            stack.thaw(name)
            await asyncio.sleep(1)
            await stack.remove(STANDBY, battle.chance.choice((signal.SIGTERM, signal.SIGKILL)))


async def churn(battle: Battle) -> None:
    """Workers that join and leave every few seconds."""
    for _ in range(battle.chance.randrange(2, 4)):
        name = await battle.stack.add_worker(wait=False)
        with battle.hold(name):
            battle.note("churn", name, detail="joins")
            await asyncio.sleep(1 + 4 * battle.chance.random())
            await battle.take_down("churn", name, battle.chance.choice((signal.SIGTERM, signal.SIGKILL)))
            await battle.stack.remove(name)


async def spoil_state(battle: Battle) -> None:
    """Take a worker down; delete its RocksDB, cut off files of it, or put an earlier copy in its place."""
    with battle.claim(WORKER) as name:
        if name is None:
            return
        stack, chance = battle.stack, battle.chance
        await battle.take_down("spoil state", name, chance.choice((signal.SIGTERM, signal.SIGKILL)))
        state = stack.state_directory(name)
        keep = _copy(state, battle)
        kinds = [_delete_all, _delete_one, _truncate, *map(_replace, battle.copies[:1])]
        chance.shuffle(battle.copies)
        harm = chance.choice(kinds)
        detail = harm(state, chance)
        if keep is not None:
            battle.copies.append(keep)
        battle.note("spoil state", name, detail=detail)
        await stack.start(name, wait=False)


def crasher(point: str) -> Nemesis:
    """Let a part run until it kills itself at a crash point; its supervisor then starts it unarmed."""
    kind, _ = POINTS[point]

    async def act(battle: Battle) -> None:
        with battle.claim(kind) as name:
            if name is None:
                return
            passes = 1 if point in {"fenced", "restoring"} else battle.chance.randrange(1, 6)
            await battle.take_down(f"crash {kind}", name, signal.SIGTERM)
            mark = await battle.stack.start(name, crash=f"{point}:{passes}", wait=False)
            if await until(mark.exists, REACHED_SECONDS):
                battle.note(f"crash {kind}", name, is_kill=True, detail=f"{point}:{passes}")
                battle.reached.append(point)
                await asyncio.sleep(0.5)
            else:  # nothing passed that way; it must not die later, when nobody expects it
                battle.note(f"crash {kind}", name, detail=f"{point}:{passes} was not reached")
                await battle.stack.stop(name, signal.SIGTERM)
                await battle.stack.start(name, wait=False)

    return act


async def any_crash(battle: Battle) -> None:
    """One of the crash points."""
    await crasher(battle.chance.choice(sorted(POINTS)))(battle)


KILLERS: dict[str, Nemesis] = {
    f"kill {kind}": killer(kind) for kind in (GATEWAY, WORKER, CLOSER, PROJECTOR, KAFKA, POSTGRES)
}
NEMESES: dict[str, Nemesis] = {
    **KILLERS,
    "take over": take_over,
    "zombie worker": zombie_worker,
    "zombie closer": zombie_closer,
    "churn": churn,
    "spoil state": spoil_state,
    "crash points": any_crash,
}


def _copy(state: Path, battle: Battle) -> Path | None:
    """A copy of a state as it is now, if there are few."""
    if len(battle.copies) >= COPIES_MAX or not state.exists():
        return None
    copy = battle.stack.directory / "copies" / f"{state.name}-{now_ms()}"
    shutil.copytree(state, copy)
    return copy


def _delete_all(state: Path, _: Random) -> str:
    shutil.rmtree(state, ignore_errors=True)
    return "everything deleted"


def _delete_one(state: Path, chance: Random) -> str:
    stores = sorted(state.glob("*"))
    if not stores:
        return "there was nothing to delete"
    store = chance.choice(stores)
    shutil.rmtree(store)
    return f"{store.name} deleted"


def _truncate(state: Path, chance: Random) -> str:
    files = sorted(file for file in state.glob("*/*") if file.is_file() and file.stat().st_size > 0)
    cut = chance.sample(files, min(len(files), chance.randrange(1, 4)))
    for file in cut:
        os.truncate(file, chance.randrange(file.stat().st_size))
    return f"cut off: {', '.join(str(file.relative_to(state)) for file in cut)}"


def _replace(copy: Path) -> Callable[[Path, Random], str]:
    def replace(state: Path, _: Random) -> str:
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(copy, state)
        return f"replaced by {copy.name}"

    return replace
