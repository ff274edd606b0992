"""A campaign: storms, and after each of them the verdict over everything since the beginning."""

import asyncio
import json
import logging
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.jars import LOCK
from tests.chaos.battle import Battle
from tests.chaos.clients import load
from tests.chaos.draining import NotDrained
from tests.chaos.evidence import Evidence, evidence, recoveries
from tests.chaos.journal import Journal
from tests.chaos.nemeses import NEMESES
from tests.chaos.operating import operate
from tests.chaos.reading import Log
from tests.chaos.stack import ChaosStack, chaos_stack
from tests.chaos.verdict import Verdict, verdict

log = logging.getLogger(__name__)

ALONE_SECONDS = 14.0
MIXED_SECONDS = 40.0
LANES = 2
"""How many nemeses are at work at once in a mixed storm."""
PAUSE_SECONDS = 0.8

STORE = re.compile(r"^(partition-\d+|catalog|v1)(?= deleted$)")


@dataclass(frozen=True)
class Plan:
    """What a campaign does. Rounds begin until `seconds` are over; each ends with a verdict."""

    seed: int
    seconds: float
    directory: Path
    rate: float = 100.0
    nemeses: tuple[str, ...] = tuple(NEMESES)


@dataclass
class Report:
    """What a campaign did, and what came of it."""

    seed: int
    nemeses: tuple[str, ...] = tuple(NEMESES)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    crash_points: Counter[str] = field(default_factory=Counter)
    spoiled: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    recovery_seconds: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None
    verdict: Verdict = field(default_factory=Verdict)
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong, and enough happened for that to mean something."""
        return not self.failure and self.verdict.is_clean and self.rounds > 0 and not self.missing

    @property
    def missing(self) -> list[str]:
        """The rare paths that were not walked; some nemeses alone need not walk them all."""
        is_whole = set(self.nemeses) == set(NEMESES)
        return self.evidence.missing() if is_whole and self.evidence is not None else []

    def document(self) -> dict[str, Any]:
        """The report as it is kept."""
        found = self.verdict
        return {
            **{name: value for name, value in vars(self).items() if name not in ("verdict", "evidence")},
            "killsInAll": sum(self.kills.values()),
            "evidence": None if self.evidence is None else asdict(self.evidence),
            "missing": self.missing,
            "lost": len(found.lost),
            "duplicated": len(found.duplicated),
            "wrong": len(found.wrong),
            "brokenChains": len(found.broken_chains),
            "audit": found.audit,
            "counts": dict(found.counts),
            "good": self.is_good,
        }


async def run(plan: Plan) -> Report:
    """Run a campaign. Its directory keeps the journal, the logs of all parts and the report."""
    report = Report(plan.seed, plan.nemeses)
    plan.directory.mkdir(parents=True, exist_ok=True)
    journal, record = Journal(plan.directory / "journal.jsonl"), Log()
    async with chaos_stack(plan.directory) as stack:
        begun = time.monotonic()
        report.versions = await versions(stack)
        battle = Battle(stack, random.Random(plan.seed))
        operator = asyncio.create_task(operate(battle))
        for names, seconds in rounds(plan, battle.chance):
            if time.monotonic() - begun > plan.seconds:
                break
            report.rounds += 1
            try:
                await one_round(battle, journal, names, seconds, plan, report.rounds)
                report.verdict = await verdict(stack, journal, record)
            except NotDrained as error:
                report.failure = f"The storm is over and not all is done: {error}"
            _sum_up(report, battle, record)
            log.info("round %d: %s; kills so far %d", report.rounds, ", ".join(names), sum(report.kills.values()))
            if report.failure or not report.verdict.is_clean:
                log.error("%s\n%s", report.failure, report.verdict.summary())
                break
        operator.cancel()
        report.evidence = evidence(stack, report.verdict)
        report.seconds = round(time.monotonic() - begun, 1)
    journal.close()
    (plan.directory / "history.txt").write_text("\n".join(battle.history()) + "\n")
    (plan.directory / "report.json").write_text(json.dumps(report.document(), indent=2) + "\n")
    return report


def rounds(plan: Plan, chance: random.Random) -> Iterator[tuple[Sequence[str], float]]:
    """Each nemesis alone, in random order; then all of them, again and again."""
    for name in chance.sample(plan.nemeses, len(plan.nemeses)):
        yield (name,), ALONE_SECONDS
    while True:
        yield plan.nemeses, MIXED_SECONDS


async def one_round(
    battle: Battle, journal: Journal, names: Sequence[str], seconds: float, plan: Plan, number: int
) -> None:
    """Load, and a storm in it."""
    stack, seed = battle.stack, plan.seed * 1_000 + number
    async with load(stack.target, stack.partitions, journal, seed=seed, rate=plan.rate):
        await storm(battle, names, seconds)


async def storm(battle: Battle, names: Sequence[str], seconds: float) -> None:
    """Let nemeses act one after the other, several at once where there are several."""
    end = time.monotonic() + seconds

    async def lane() -> None:
        while time.monotonic() < end:
            await NEMESES[battle.chance.choice(list(names))](battle)
            await asyncio.sleep(battle.chance.expovariate(1 / PAUSE_SECONDS))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(LANES, len(names))):
            group.create_task(lane())


async def versions(stack: ChaosStack) -> dict[str, str]:
    """Of everything that could explain a difference."""
    connection = await asyncpg.connect(stack.target.database_url)
    try:
        postgres = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    kafka = next(line.split()[0] for line in LOCK.read_text().splitlines() if ":kafka-server:" in line)
    libraries = {name: version(name) for name in ("aiokafka", "asyncpg", "faust-streaming", "rocksdict")}
    return {"python": sys.version.split()[0], "kafka": kafka.split(":")[2], "postgres": postgres, **libraries}


def _sum_up(report: Report, battle: Battle, record: Log) -> None:
    report.acts = Counter(act.nemesis for act in battle.acts)
    report.kills = Counter(battle.stack.kind_of(act.part) for act in battle.acts if act.is_kill)
    report.crash_points = Counter(battle.reached)
    spoiled = (act.detail for act in battle.acts if act.nemesis == "spoil state" and act.detail)
    report.spoiled = Counter(STORE.sub("a store", detail.split(":")[0].split(" by ")[0]) for detail in spoiled)
    exits = (said.sentence.partition(", restarting")[0].split(" ", 1)[1] for said in battle.stack.said)
    report.exits = Counter(exits)
    found = recoveries(battle, record)
    undisturbed = sorted(r.seconds for r in found if r.is_undisturbed)
    report.recovery_seconds = {
        "measured": len(found),
        "longest": max((r.seconds for r in found), default=0.0),
        "undisturbed": len(undisturbed),
        "undisturbed median": undisturbed[len(undisturbed) // 2] if undisturbed else 0.0,
        "undisturbed longest": max(undisturbed, default=0.0),
    }
