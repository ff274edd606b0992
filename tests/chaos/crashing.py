"""A part of Tally that kills itself at a chosen point: `python -m tests.chaos.crashing POINT[:N] --mark FILE -- PART`.

What is in production has no hooks. This imports the real thing, wraps one function at a seam, and sends SIGKILL to
its own process when the point is passed for the N-th time. FILE is written just before; where it exists already, the
part runs as it is, so that a supervisor may start the same command again.
"""

import argparse
from pathlib import Path

from tests.chaos.points import POINTS
from tests.chaos.seams import Crash


def main() -> None:
    """Arm the point unless it was reached before, then be the part."""
    parser = argparse.ArgumentParser(prog="crashing")
    parser.add_argument("point", help="POINT or POINT:N")
    parser.add_argument("--mark", type=Path, required=True)
    parser.add_argument("part", choices=["aggregator", "closer", "projector", "gateway"])
    arguments = parser.parse_args()
    name, _, passes = arguments.point.partition(":")
    part, arm = POINTS[name]
    assert part == arguments.part, f"{name} is a point of the {part}"
    if not arguments.mark.exists():
        arm(Crash(int(passes or "1"), arguments.mark))
    from deploy.cli import main as tally  # what it takes from libraries when it is imported is to be armed

    tally([arguments.part])


if __name__ == "__main__":
    main()
