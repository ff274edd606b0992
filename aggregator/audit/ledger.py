"""The ledger of a partition, counted anew."""

import sqlite3

from aggregator.audit.positions import LEDGER, Chain
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import queries
from aggregator.audit.sources import FORWARDED, OWN

_SQL = queries("partition.sql")


def counted_ledger(database: sqlite3.Connection, voids: dict[str, int]) -> dict[str, int]:
    """What the ledger must say, from the records of the sources and what became of them."""
    verdicts = {(source, verdict): count for source, verdict, count in database.execute(_SQL["verdict_counts"])}
    sent, strays, *_ = database.execute(_SQL["row_counts"]).fetchone()
    ledger = {name: verdicts.get((OWN, name), 0) for name in ("accepted", "duplicate", "rejected")}
    ledger["forwarded"] = sent
    ledger["received"] = sum(ledger.values())
    arrived = {name: verdicts.get((FORWARDED, name), 0) for name in ("accepted", "duplicate", "rejected")}
    arrived["rejected"] += strays
    ledger |= {f"forwardedIn{name.capitalize()}": count for name, count in arrived.items()}
    ledger["forwardedIn"] = sum(arrived.values())
    return ledger | voids


def compare_ledger(chain: Chain, counted: dict[str, int], partition: int, findings: Findings) -> None:
    """Whether the last position's ledger says so."""
    offset = None if chain.last is None else chain.last.offset
    for name in LEDGER:
        what = f"The ledger's {name!r} is not what was counted."
        place = {"partition": partition, "offset": offset, "key": name}
        findings.expect(Check.LEDGER, what, counted[name], chain.ledger[name], **place)
