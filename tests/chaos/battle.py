"""What a nemesis works with: the stack, chance, who is being hurt now, and the record of what was done."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.parts import now_ms
from tests.chaos.stack import WORKER, ChaosStack


@dataclass(frozen=True)
class Act:
    """One thing that was done to one part. `at` is in ms; `partitions` are those that a killed worker owned."""

    at: int
    nemesis: str
    part: str
    is_kill: bool
    partitions: frozenset[int] = frozenset()
    detail: str = ""


@dataclass
class Battle:
    """A storm on one stack."""

    stack: ChaosStack
    chance: random.Random
    acts: list[Act] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    """State directories as they were at earlier moments."""
    reached: list[str] = field(default_factory=list)
    """The crash points that were reached."""
    _busy: set[str] = field(default_factory=set)

    @contextmanager
    def claim(self, kind: str) -> Iterator[str | None]:
        """A part of a kind that no other nemesis has hold of; None where there is none."""
        free = sorted(name for name in self.stack.names(kind) if name not in self._busy)
        if not free:
            yield None
            return
        with self.hold(name := self.chance.choice(free)):
            yield name

    def is_held(self, name: str) -> bool:
        """Whether a nemesis has hold of a part."""
        return name in self._busy

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep a part from all other nemeses."""
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def note(self, nemesis: str, part: str, *, is_kill: bool = False, detail: str = "") -> None:
        """Record what was done just now."""
        self.acts.append(Act(now_ms(), nemesis, part, is_kill, detail=detail))

    def history(self) -> list[str]:
        """All that was done, and what the supervisors said, in the order of time."""
        done = [(act.at, f"{act.nemesis}: {act.part} {act.detail}{' (killed)' * act.is_kill}") for act in self.acts]
        told = [(said.at, said.sentence) for said in self.stack.said]
        return [f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M:%S.%f} {what}" for at, what in sorted(done + told)]

    async def kill(self, nemesis: str, name: str) -> None:
        """SIGKILL a part and record it, with what it owned."""
        await self.stack.running_pid(name)
        owned = await self.stack.partitions_of(name) if self.stack.kind_of(name) == WORKER else set()
        at = now_ms()
        if self.stack.kill(name, signal.SIGKILL) is not None:
            self.acts.append(Act(at, nemesis, name, is_kill=True, partitions=frozenset(owned)))

    async def take_down(self, nemesis: str, name: str, number: signal.Signals) -> None:
        """Stop a part for a while, in good order or with SIGKILL, and record it."""
        self.note(nemesis, name, is_kill=number is signal.SIGKILL)
        await self.stack.stop(name, number)
