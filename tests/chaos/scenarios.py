"""All scenarios of the infrastructure, by name."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos import scenarios_network as network
from tests.chaos import scenarios_servers as servers
from tests.chaos import scenarios_strangers as strangers
from tests.chaos.stage import NotPossible, Report

log = logging.getLogger(__name__)

Scenario = Callable[[Path, int, float], Coroutine[Any, Any, Report]]
"""Works in an empty directory of its own, from a seed, for about so many seconds, and then settles and judges."""

SCENARIOS: Final[dict[str, Scenario]] = {
    "connections-cut": network.connections_cut,
    "commits-unanswered": network.commits_unanswered,
    "black-holes": network.black_holes,
    "silent-connections": network.silent_connections,
    "silent-servers": network.silent_servers,
    "postgres-commits-unanswered": network.postgres_commits_unanswered,
    "network-troubles": network.network_troubles,
    "kafka-disk-full": servers.kafka_disk_full,
    "postgres-disk-full": servers.postgres_disk_full,
    "leader-killed": servers.leader_killed,
    "two-of-three-frozen": servers.two_of_three_frozen,
    "old-backup": servers.old_backup,
    "old-backup-of-the-catalog": servers.old_backup_of_the_catalog,
    "wrong-clocks": strangers.wrong_clocks,
    "foreign-transactions": strangers.foreign_transactions,
}


def play(names: Sequence[str], seed: int, seconds: float, directory: Path) -> list[Report]:
    """Play scenarios one after the other, each in a directory of its own; what can't be had here is left out."""
    reports: list[Report] = []
    for name in names:
        own = directory / name
        own.mkdir(parents=True)
        try:
            reports.append(asyncio.run(SCENARIOS[name](own, seed, seconds)))
        except NotPossible as reason:
            log.warning("%s is left out: %s", name, reason)
        else:
            log.info("%s", reports[-1].text())
    return reports
