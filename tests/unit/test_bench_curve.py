"""The cost curve on points that are made up: what is measured, what not again, and the picture."""

import re
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.curve import USUAL, Curve, Point, Usage, bench, points, read
from deploy.bench.engine import Options
from deploy.bench.plot import DOTS_PER_INCH, INCHES, draw, thousands
from deploy.bench.workload import Workload
from schemas.errors import OperatorError

USAGE = Usage(events=100, warm_up=10, seed=1, runs=1)
VARIED = {
    "stored_keys": [0, 1_000_000, 10_000_000, 50_000_000],
    "partitions": [1, 64],
    "subscriptions": [1, 100_000],
    "batch_records": [500, 2_000, 6_000, 20_000, 40_000],
}


class Engine:
    """Takes no time; its figures are a function of the point; those of another seed are wrong."""

    def __init__(self) -> None:
        self.asked: list[tuple[Workload, Options]] = []

    async def bench(self, workload: Workload, options: Options) -> dict[str, Any]:
        self.asked.append((workload, options))
        figures = {
            "events_per_s": round(90_000 * options.batch_records / (options.batch_records + 1_500))
            - workload.stored_keys // 2_000,
            "audited": workload.seed == USAGE.seed,
            "resident_peak_mib": 250 + options.batch_records // 100 + workload.stored_keys // 200_000,
        }
        here = {"cores": 2, "cpu": "a made-up processor", "commit": "1234567"}
        return {"engine": figures, "circumstances": here}


async def test_one_thing_is_varied_at_a_time() -> None:
    found = list(points(VARIED))
    assert found[0] == USUAL
    assert len(found) == len(set(found)) == 1 + 3 + 2 + 2 + 4
    differing = [[name for name, value in asdict(point).items() if value != asdict(USUAL)[name]] for point in found]
    assert max(map(len, differing)) == 1


async def test_a_point_in_the_file_is_not_measured_again(tmp_path: Path) -> None:
    file, first, second = tmp_path / "curve.json", Engine(), Engine()
    await bench({"partitions": [1]}, USAGE, file, first.bench)
    assert [workload.partitions for workload, _ in first.asked] == [8, 1]
    curve = await bench({"partitions": [1, 2]}, USAGE, file, second.bench)
    assert second.asked == [
        (
            Workload(events=100, subscriptions=1_000, partitions=2, seed=1, warm_up=10, stored_keys=0),
            Options(runs=1, batch_records=USUAL.batch_records),
        )
    ]
    assert [value for value, _ in curve.along("partitions")] == [1, 2, 8]
    assert [value for value, _ in curve.along("stored_keys")] == [0]
    assert read(file) == curve


async def test_points_of_other_usage_are_not_mixed(tmp_path: Path) -> None:
    file = tmp_path / "curve.json"
    await bench({}, USAGE, file, Engine().bench)
    with pytest.raises(OperatorError, match=r"events=100.*another --file"):
        await bench({}, Usage(events=200, warm_up=10, seed=1, runs=1), file, Engine().bench)


async def test_what_was_counted_wrongly_is_no_point(tmp_path: Path) -> None:
    file = tmp_path / "curve.json"
    with pytest.raises(OperatorError, match="not what was sent"):
        await bench({}, Usage(events=100, warm_up=10, seed=666, runs=1), file, Engine().bench)
    assert read(file).measured == {}


async def test_a_file_that_cannot_be_written_is_known_before_anything_is_measured(tmp_path: Path) -> None:
    engine = Engine()
    with pytest.raises(OperatorError, match="can't be written"):
        await bench({}, USAGE, tmp_path / "no-such-folder" / "curve.json", engine.bench)
    assert engine.asked == []


@pytest.mark.parametrize("content", [None, "{", "[]", '{"points": [{}], "usage": {}}', '{"points": []}'])
def test_what_is_no_curve_is_said_to_be_none(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "curve.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OperatorError, match="tally bench curve"):
        read(file)


async def test_the_picture_has_its_size_and_differs_with_the_points(tmp_path: Path) -> None:
    curve = await bench(VARIED, USAGE, tmp_path / "curve.json", Engine().bench)
    pictures = [tmp_path / "all.png", tmp_path / "one.png"]
    draw(curve, pictures[0])
    draw(Curve(USAGE, {Point(): curve.measured[Point()]}), pictures[1])
    contents = [picture.read_bytes() for picture in pictures]
    for content in contents:
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == tuple(round(side * DOTS_PER_INCH) for side in INCHES)
    assert contents[0] != contents[1]


def test_there_is_no_picture_without_the_point_where_the_lines_meet(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"partitions 8.*tally bench curve"):
        draw(Curve(USAGE, {}), tmp_path / "none.png")


def test_who_has_no_matplotlib_is_told_how_to_get_it() -> None:
    without = "import sys; sys.modules['matplotlib'] = None; from deploy.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", without, "bench", "plot", "curve.json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert re.fullmatch(r"(tally bench: |\{.*)Drawing needs matplotlib.*'make setup'.*\n", told.stderr)


def test_counts_are_short() -> None:
    assert [thousands(number) for number in (0, 500, 2_000, 62_500, 1_500_000, 50_000_000)] == [
        *("0", "500", "2 k", "62.5 k", "1.5 M", "50 M")
    ]
