"""`tally bench engine`: how fast workers decide, on a real broker, every count audited; with a peer, that in turn.

The usage is in the topic before anything starts. Tally and the peer read the very same records of one broker, one after
the other, and each pair has a broker of its own. The rate is that of what is committed, between two bursts of commits
(see `window`): Tally's by the broker's append times, the peer's by the offsets of its group, asked for every 20 ms.
CPU is that of all threads and processes of each, over the same time.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.bench import peer, tally
from deploy.bench.measure import Circumstances, medians
from deploy.bench.stage import stage
from deploy.bench.trim import STORED_KEYS_MIN
from deploy.bench.window import Figures
from deploy.bench.worker import NOTHING, Own
from deploy.bench.workload import Workload
from schemas.errors import OperatorError

RATIOS = ("cpu_us_per_event", "events_per_s")


@dataclass(frozen=True)
class Options:
    """How it is run. `processes` are the workers, and the threads of the peer; `batch_records` 0 is the setting as it
    is; `peer` is the folder of the peer, if there is to be one."""

    runs: int = 3
    processes: int = 1
    batch_records: int = 0
    peer: Path | None = None
    peer_commit_ms: int = 1_000

    @property
    def own(self) -> Own:
        """The settings of the workers."""
        return {"batch_records_max": self.batch_records} if self.batch_records else NOTHING


async def bench(workload: Workload, options: Options) -> dict[str, Any]:
    """The medians of each, all runs, and how they compare. May be called again and again. Raises OperatorError."""
    if options.processes > workload.partitions:
        raise OperatorError(f"Of {options.processes} processes some would have no partition: choose more --partitions.")
    circumstances = asdict(Circumstances.here())
    own: list[Figures] = []
    others: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as scratch:
        other = None if options.peer is None else await peer.built(options.peer, Path(scratch))
        for _ in range(options.runs):
            is_trimmed = options.peer is None and workload.stored_keys >= STORED_KEYS_MIN
            async with stage(workload, is_trimmed=is_trimmed) as filled:
                own.append(await tally.run(filled, options.processes, options.own))
                if other is not None:
                    others.append(await peer.run(filled, other, options.processes, options.peer_commit_ms))
    result: dict[str, Any] = {"engine": medians(own)}
    runs = {"engine": [asdict(run) for run in own]}
    if other is not None:
        result |= {"peer": medians(others), "ratios": _ratios(own, others)}
        runs["peer"] = [asdict(run) for run in others]
        circumstances |= other.versions
    told = {**asdict(options), "peer": None if options.peer is None else str(options.peer)}
    return {**result, "runs": runs, "workload": asdict(workload), "options": told, "circumstances": circumstances}


def _ratios(own: list[Figures], others: list[Figures]) -> dict[str, Any]:
    """Tally's figures as shares of the peer's: of the medians, and of each pair."""
    one, other = medians(own), medians(others)
    pairs = [(asdict(mine), asdict(theirs)) for mine, theirs in zip(own, others, strict=True)]
    return {
        name: {
            "of_medians": round(one[name] / other[name], 3),
            "of_pairs": [round(mine[name] / theirs[name], 3) for mine, theirs in pairs],
        }
        for name in RATIOS
    }
