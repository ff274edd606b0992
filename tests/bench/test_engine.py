"""`tally bench engine`: its figures are of runs whose counts are exact, and the peer's of the same records."""

import json
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.engine import Options, bench
from deploy.bench.peer import PeerUnusable, built
from deploy.bench.workload import Workload
from schemas.errors import OperatorError

FIGURES = {
    *("cpu_us_per_event", "events_per_s", "broker_cpu_us_per_event", "resident_mib", "resident_peak_mib"),
    *("window_events", "window_seconds", "window_commits", "audited"),
}


async def test_two_workers_are_measured_on_top_of_stored_keys() -> None:
    workload = Workload(events=4_000, subscriptions=50, partitions=2, seed=3, warm_up=1_000, stored_keys=2_000)
    result = await bench(workload, Options(runs=1, processes=2, batch_records=500))
    assert set(result) == {"engine", "runs", "workload", "options", "circumstances"}
    engine = result["engine"]
    assert set(engine) == FIGURES
    assert engine["audited"] is True
    assert 0 < engine["window_events"] <= 4_000
    assert engine["cpu_us_per_event"] > 0
    assert engine["resident_mib"] <= engine["resident_peak_mib"]
    assert result["runs"]["engine"] == [engine]
    assert result["workload"]["stored_keys"] == 2_000


async def test_peer_decides_the_same_records_and_is_compared(peer_directory: Path) -> None:
    flags = ["--events=5000", "--warm-up=1000", "--runs=1", "--partitions=2", "--peer-commit-ms=50", "--json"]
    result = await _last_line("bench", "engine", f"--peer={peer_directory}", *flags)
    for side in ("engine", "peer"):
        assert set(result[side]) == FIGURES
        assert result[side]["audited"] is True
    for name in ("cpu_us_per_event", "events_per_s"):
        ratio = round(result["engine"][name] / result["peer"][name], 3)
        assert result["ratios"][name] == {"of_medians": ratio, "of_pairs": [ratio]}
    assert result["circumstances"]["kafka_streams"].startswith("4.")


async def _last_line(*arguments: str) -> dict[str, Any]:
    process = await create_subprocess_exec(sys.executable, "-m", "deploy", *arguments, stdout=PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(said.splitlines()[-1])
    assert isinstance(found, dict)
    return found


async def test_folder_without_a_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerUnusable, match=r"holds no Kafka Streams program .* name the folder"):
        await built(tmp_path, tmp_path)


async def test_process_without_a_partition_is_refused() -> None:
    with pytest.raises(OperatorError, match="choose more --partitions"):
        await bench(Workload(events=1, subscriptions=1, partitions=2, seed=1), Options(processes=3))
