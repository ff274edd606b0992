"""`python -m tests.chaos --minutes M --seed S`: a campaign, its seed, its report; the exit code says how it ended."""

import argparse
import asyncio
import json
import logging
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Plan, run
from tests.chaos.nemeses import NEMESES
from tests.chaos.scenarios import SCENARIOS, play

log = logging.getLogger("tests.chaos")


def main() -> int:
    """Run it; the directory of one that fails is kept, and named."""
    parser = argparse.ArgumentParser(prog="chaos", description="Break everything, again and again, and count.")
    parser.add_argument("--minutes", type=float, help="how long new rounds begin (10; 0.5 for each scenario)")
    parser.add_argument("--seed", type=int, help="of usage and nemeses (default: a random one, which is shown)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second (100)")
    parser.add_argument(
        "--directory", type=Path, help="where data, logs and report are kept (default: a temporary one)"
    )
    parser.add_argument("--only", action="append", choices=list(NEMESES), help="a nemesis; repeatable (default: all)")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=["all", *SCENARIOS],
        help="instead, one trouble of the infrastructure on a stack of its own; repeatable",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for chatty in ("aiokafka", "httpx"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    directory = (arguments.directory or Path(tempfile.mkdtemp(prefix="tally-chaos-"))).resolve()
    minutes = arguments.minutes or (0.5 if arguments.scenario else 10.0)
    log.info("seed %d, %g minutes, in %s", seed, minutes, directory)
    if arguments.scenario:
        names = list(SCENARIOS) if "all" in arguments.scenario else arguments.scenario
        reports = play(names, seed, minutes * 60, directory)
        sys.stdout.write(json.dumps([each.document() for each in reports], indent=2) + "\n")
        return 0 if all(each.is_good for each in reports) else 1
    nemeses = tuple(arguments.only or NEMESES)
    report = asyncio.run(run(Plan(seed, minutes * 60, directory, arguments.rate, nemeses)))
    sys.stdout.write(json.dumps(report.document(), indent=2) + "\n")
    if not report.is_good:
        log.error("not good: see %s; make chaos SEED=%d does the same again", directory, seed)
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
