"""A short form of the scenarios of the infrastructure: nothing is lost, and nothing counted twice."""

from pathlib import Path

import pytest

from tests.chaos.disks import small_disk, why_no_small_disk
from tests.chaos.scenarios_network import network_troubles
from tests.chaos.scenarios_strangers import wrong_clocks

SEED = 4


async def test_network_that_cuts_swallows_and_loses_answers_to_commits_costs_nothing(tmp_path: Path) -> None:
    report = await network_troubles(tmp_path, SEED, seconds=1)
    assert report.is_good, report.text()


async def test_wrong_clocks_and_foreign_transactions_change_nothing(tmp_path: Path) -> None:
    report = await wrong_clocks(tmp_path, SEED, seconds=6)
    assert report.is_good, report.text()


@pytest.mark.skipif(why_no_small_disk() is not None, reason=str(why_no_small_disk()))
def test_disk_that_was_filled_has_room_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=2) as disk:
        assert disk.fill() == 2 << 20
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "more").write_bytes(b"more")
        disk.free()
        (tmp_path / "disk" / "more").write_bytes(b"more")
    assert not (tmp_path / "disk" / "more").exists()
