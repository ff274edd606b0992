"""The operator: does what docs/operations.md says when a process says that it can't go on by itself."""

import asyncio
import re
import shutil
import signal

from tests.chaos.battle import Battle

UNUSABLE_STATE = re.compile(r"(worker-\d+) exited with code 30 ")
"""RocksDB could not be read: its directory may be deleted."""
LOOK_SECONDS = 0.2


async def operate(battle: Battle) -> None:
    """Watch what the supervisors say, for as long as this is not cancelled."""
    stack = battle.stack
    seen, unusable = 0, set[str]()
    while True:
        said, seen = stack.said[seen:], len(stack.said)
        unusable |= {found[1] for one in said if (found := UNUSABLE_STATE.match(one.sentence))}
        for name in sorted(unusable & set(stack.workers)):
            if battle.is_held(name):
                continue
            unusable.discard(name)
            with battle.hold(name):
                battle.note("delete unusable state", name)
                await stack.stop(name, signal.SIGKILL)
                shutil.rmtree(stack.state_directory(name), ignore_errors=True)
                await stack.start(name, wait=False)
        await asyncio.sleep(LOOK_SECONDS)
