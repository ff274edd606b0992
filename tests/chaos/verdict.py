"""Whether anything was lost, counted twice or billed wrongly: journal and Postgres against the log, and the audit."""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field

import asyncpg

from tests.chaos.draining import drain
from tests.chaos.invoicing import check_billing
from tests.chaos.journal import Journal, Outcome, identity
from tests.chaos.reading import Log
from tests.chaos.recount import recount
from tests.chaos.stack import REPOSITORY, ChaosStack

SHOWN_MAX = 20
DISAGREES = 1
"""The exit code of an audit that found something."""


@dataclass
class Verdict:
    """What is wrong, a sentence each; and how much of everything there was."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    broken_chains: list[str] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any((self.lost, self.duplicated, self.wrong, self.broken_chains, self.audit))

    def summary(self) -> str:
        """A line for each kind of fault, with the first of them."""
        kinds = {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "wrong": self.wrong,
            "chain": self.broken_chains,
            "audit": self.audit,
        }
        lines = [f"{kind} {len(some)}" + "".join(f"\n  {s}" for s in some[:SHOWN_MAX]) for kind, some in kinds.items()]
        return "\n".join(lines)


async def verdict(stack: ChaosStack, journal: Journal, log: Log) -> Verdict:
    """Wait until all is done, then check all there is. Raises NotDrained where it never is."""
    await drain(stack, log)
    counted = recount(log, stack.partitions)
    result = Verdict(counted.lost, counted.duplicated, counted.wrong, log.broken_chains)
    connection = await asyncpg.connect(stack.target.database_url)
    try:
        billing = await check_billing(connection, log, counted.totals)
    finally:
        await connection.close()
    result.wrong += billing.wrong
    check_journal(journal, log, result)
    result.counts = {
        **counted.counts,
        "invoices": billing.invoices,
        "adjustments": billing.adjustments,
        "positions": sum(map(len, log.committed_at.values())),
        **journal.counts,
    }
    result.audit += await audit(stack)
    return result


def check_journal(journal: Journal, log: Log, result: Verdict) -> None:
    """Every event that was acknowledged is in the log where its receipt says; what was refused is not; and of each
    event there are as many copies as were acknowledged, or as many more as had an unknown outcome."""
    copies = Counter(identity(arrived.document) for arrived in log.events.values() if arrived.document is not None)
    acknowledged: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    receipts: set[str] = set()
    for sent in journal.sent:
        name = identity(sent.event)
        acknowledged[name] += sent.outcome in (Outcome.OK, Outcome.JUDGED)
        unknown[name] += sent.outcome is Outcome.UNKNOWN
        if sent.id is None:
            continue
        if sent.id in receipts:
            result.duplicated.append(f"the receipt {sent.id} was given twice")
        receipts.add(sent.id)
        _, partition, offset = sent.id.split("_")
        arrived = log.events.get((int(partition), int(offset)))
        if arrived is None:
            result.lost.append(f"{sent.id} was acknowledged at {sent.at} and is not in the log: {sent.event}")
        elif arrived.document is None:
            acknowledged[name] -= 1  # sent as broken bytes, which have no identity
        elif identity(arrived.document) != name:
            result.wrong.append(f"{sent.id} holds {arrived.document} instead of {sent.event}")
    for name in acknowledged | unknown | copies:
        least, most = acknowledged[name], acknowledged[name] + unknown[name]
        if copies[name] < least:
            result.lost.append(f"{name}: {copies[name]} copies of {least} acknowledged")
        elif copies[name] > most:
            result.duplicated.append(f"{name}: {copies[name]} copies of at most {most}")


async def audit(stack: ChaosStack) -> list[str]:
    """What `tally audit` complains of."""
    report = stack.directory / "audit.json"
    target = ("--kafka", stack.target.kafka, "--database-url", stack.target.database_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "audit", *target, "--partitions", str(stack.partitions)),
        *("--processes", "1", "--report", str(report)),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await process.communicate()
    if process.returncode == 0:
        return []
    if process.returncode != DISAGREES:
        return [f"there was no audit (code {process.returncode}): {words.decode()[-2000:]}"]
    return [json.dumps(found) for found in json.loads(report.read_text())["disagreements"]]
