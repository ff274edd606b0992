"""That the rare paths were really walked: a campaign in which nothing rare happened proves nothing."""

import json
import re
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.battle import Act, Battle
from tests.chaos.reading import Log
from tests.chaos.stack import CLOSER, WORKER, ChaosStack
from tests.chaos.verdict import Verdict

FENCED = re.compile("ProducerFenced|InvalidProducerEpoch")
ALONE_MS = 5_000
"""A recovery counts as undisturbed if nothing else was done from so long before the kill to its end."""


@dataclass(frozen=True)
class Evidence:
    """How often each rare thing happened."""

    duplicates: int
    adjustments: int
    fenced_workers: int
    fenced_closers: int
    tail_replays: int
    take_overs: int
    unknown: int
    retries: int

    def missing(self) -> list[str]:
        """What never happened."""
        return [name.replace("_", " ") for name, count in asdict(self).items() if count == 0]


def evidence(stack: ChaosStack, verdict: Verdict) -> Evidence:
    """Gathered from the logs of the parts and from what the verdict counted."""
    workers = stack.logs(WORKER)
    openings = sorted(
        (line["time"], line["partition"], name, line["restored_records"])
        for name, text in workers.items()
        for line in log_lines(text)
        if "restored_records" in line
    )
    owners = [[name for _, p, name, _ in openings if p == partition] for partition in range(stack.partitions)]
    return Evidence(
        duplicates=verdict.counts.get("duplicate_event_key", 0),
        adjustments=verdict.counts.get("adjustments", 0),
        fenced_workers=fenced_workers(stack),
        fenced_closers=sum(text.count("Another closer has taken over") for text in stack.logs(CLOSER).values()),
        tail_replays=sum(restored > 0 for _, _, _, restored in openings),
        take_overs=sum(before != now for names in owners for before, now in pairwise(names)),
        unknown=verdict.counts.get("unknown", 0),
        retries=verdict.counts.get("retries", 0),
    )


def fenced_workers(stack: ChaosStack) -> int:
    """How often a worker found that another one has its partition, and exited."""
    return sum(
        line["level"] == "critical" and FENCED.search(line["message"]) is not None
        for text in stack.logs(WORKER).values()
        for line in log_lines(text)
    )


def log_lines(text: str) -> list[dict[str, Any]]:
    """The lines of a part's log, without what it or another wrote beside: the places where a process hung, say."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


@dataclass(frozen=True)
class Recovery:
    """From the SIGKILL of a worker to the first commit of a partition that it had, by the broker's clock."""

    nemesis: str
    seconds: float
    is_undisturbed: bool


def recoveries(battle: Battle, log: Log) -> list[Recovery]:
    """One for each worker that was killed while it owned something."""
    found = []
    for act in battle.acts:
        if not act.is_kill or not act.partitions:
            continue
        commits = [at for partition in act.partitions for at in log.committed_at[partition] if at > act.at]
        if commits:
            end = min(commits)
            found.append(Recovery(act.nemesis, (end - act.at) / 1000, _is_undisturbed(battle.acts, act, end)))
    return found


def _is_undisturbed(acts: list[Act], kill: Act, end: int) -> bool:
    return not any(other is not kill and kill.at - ALONE_MS < other.at < end for other in acts)
