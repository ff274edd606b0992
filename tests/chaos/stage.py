"""A scenario: a stack under load, something that is done to it on purpose, and what came of it."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.clients import Clients
from tests.chaos.journal import Journal
from tests.chaos.reading import Log
from tests.chaos.stack import ChaosStack
from tests.chaos.verdict import Verdict, verdict

EVENTS_A_SECOND = 60.0

TRANSACTION_SECONDS = 4
SESSION_SECONDS = 6
IMPATIENT = {
    "TALLY_TRANSACTION_TIMEOUT_SECONDS": str(TRANSACTION_SECONDS),
    "TALLY_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
}
"""What bounds how long a part waits for a server that is silent."""

EXIT = re.compile(r"exited with code (\d+)|was killed by (\w+)")


class NotPossible(Exception):
    """What a scenario needs can't be had on this machine; the text says why."""


@dataclass
class Stage:
    """A stack under load. `did` counts what was done to it, and what it did: that must be seen to have happened."""

    name: str
    seed: int
    stack: ChaosStack
    journal: Journal
    chance: random.Random
    did: Counter[str] = field(default_factory=Counter)

    def exits(self, part: str = "") -> Counter[str]:
        """How often parts whose names begin so have ended by themselves, by exit code or signal."""
        said = (EXIT.search(said.sentence) for said in self.stack.said if said.sentence.startswith(part))
        return Counter(found[1] or found[2] for found in said if found)


@dataclass(frozen=True)
class Report:
    """What came of a scenario. `missing`: what had to happen and did not, so that it proves nothing."""

    name: str
    seed: int
    verdict: Verdict
    did: Counter[str]
    missing: list[str]

    @property
    def is_good(self) -> bool:
        """Whether it proves that nothing was lost, and nothing counted twice."""
        return self.verdict.is_clean and not self.missing

    def document(self) -> dict[str, Any]:
        """For what is kept."""
        found = self.verdict
        return {
            "scenario": self.name,
            "seed": self.seed,
            "did": dict(self.did),
            "counts": dict(found.counts),
            "missing": self.missing,
            "lost": len(found.lost),
            "duplicated": len(found.duplicated),
            "wrong": len(found.wrong),
            "brokenChains": len(found.broken_chains),
            "audit": found.audit,
            "good": self.is_good,
        }

    def text(self) -> str:
        """For people."""
        did = ", ".join(f"{what} {count}" for what, count in sorted(self.did.items()))
        counts = ", ".join(f"{what} {count}" for what, count in sorted(self.verdict.counts.items()))
        missing = f"\nnever happened: {', '.join(self.missing)}" if self.missing else ""
        outcome = "good" if self.is_good else "BAD"
        return f"{self.name} seed {self.seed}: {outcome}\n{did}\n{counts}\n{self.verdict.summary()}{missing}"


@asynccontextmanager
async def staged(
    name: str, stack: ChaosStack, seed: int, *, kafka: str | None = None, clients: type[Clients] = Clients
) -> AsyncIterator[Stage]:
    """Load on a stack while the block runs. `kafka`: how its clients reach the broker, where not directly."""
    journal = Journal(stack.directory / "journal.jsonl")
    target = replace(stack.target, kafka=kafka or stack.target.kafka)
    sending = clients(target, stack.partitions, journal, seed, EVENTS_A_SECOND)
    await sending.prepare()
    running = asyncio.create_task(sending.run())
    try:
        yield Stage(name, seed, stack, journal, random.Random(seed))
    finally:
        sending.stop()
        await running
        journal.close()


async def judged(stage: Stage, *needed: str, log: Log | None = None) -> Report:
    """Wait until all is done, and judge it; `needed` are the names in `did` that must not be zero."""
    result = await verdict(stage.stack, stage.journal, log or Log())
    stage.did.update({f"exit {code}": count for code, count in stage.exits().items()})
    missing = [what for what in needed if not stage.did[what]]
    return Report(stage.name, stage.seed, result, stage.did, missing)


def rounds(seconds: float) -> Iterator[int]:
    """Numbers from 0 on, until so much time has passed; at least one."""
    deadline, number = time.monotonic() + seconds, 0
    while number == 0 or time.monotonic() < deadline:
        yield number
        number += 1
