"""What is measured of a run: the time between two commits with work left, and the medians of several."""

from dataclasses import dataclass

import pytest

from deploy.bench.measure import medians
from deploy.bench.window import Committed, Moment, Window, bounds
from deploy.bench.workload import Expected, Workload, usage
from schemas.errors import OperatorError

WORKLOAD = Workload(events=100, subscriptions=10, partitions=2, seed=1, warm_up=40, stored_keys=10)  # 50 before


def moments(*commits: tuple[int, int]) -> list[Moment]:
    """Of events and seconds; each event takes 2 s of CPU, and 1 s of the broker's."""
    return [Moment(Committed(events, number, at), 2.0 * events, events) for number, (events, at) in enumerate(commits)]


@pytest.mark.parametrize(
    ("commits", "first", "last"),
    [
        ([(30, 1), (50, 2), (90, 3), (140, 4), (150, 9)], 50, 140),  # the last commit had waited for more
        ([(30, 1), (70, 2), (120, 3), (150, 4)], 70, 120),  # half of the events are enough
        ([(30, 1), (70, 2), (119, 3), (150, 4)], 70, 150),  # one fewer is not
        ([(50, 2), (149, 2), (150, 3)], 50, 150),  # what came at the same time has no rate
        ([(60, 1), (150, 2)], 60, 150),
    ],
)
def test_window_ends_with_the_last_commit_that_left_work(commits: list[tuple[int, int]], first: int, last: int) -> None:
    assert [moment.committed.events for moment in bounds(moments(*commits), WORKLOAD)] == [first, last]


@pytest.mark.parametrize("commits", [[(150, 1)], [(40, 1), (150, 2)], [(50, 2), (150, 2)]])
def test_one_commit_after_the_warm_up_is_no_window(commits: list[tuple[int, int]]) -> None:
    with pytest.raises(OperatorError, match="measure more, with --events"):
        bounds(moments(*commits), WORKLOAD)


def test_figures_are_those_of_the_window() -> None:
    first, last = moments((50, 10), (90, 30))
    figures = Window(first, last, 200, 300).figures(audited=True)
    assert (figures.window_events, figures.window_seconds, figures.window_commits) == (40, 20, 1)
    assert (figures.events_per_s, figures.cpu_us_per_event, figures.broker_cpu_us_per_event) == (2, 2e6, 1e6)


@dataclass
class Run:
    rate: int
    seconds: float
    audited: bool


def test_each_figure_is_the_median_of_its_own() -> None:
    runs = [Run(1, 0.5, True), Run(3, 0.1, True), Run(2, 0.25, True)]
    assert medians(runs) == {"rate": 2, "seconds": 0.25, "audited": True}
    assert medians([*runs, Run(4, 0.75, False)]) == {"rate": 2, "seconds": 0.375, "audited": False}


def test_stored_keys_are_all_accepted_and_each_of_the_rest_is_one_or_the_other() -> None:
    stored, all_of_it = Expected(), Expected()
    keys = list(usage(Workload(events=0, subscriptions=10, partitions=2, seed=1, stored_keys=500), stored))
    events = list(usage(Workload(events=2_000, subscriptions=10, partitions=2, seed=1, stored_keys=500), all_of_it))
    assert (stored.accepted, stored.duplicates) == (500, 0)
    assert events[:500] == keys
    assert all_of_it.accepted == len(set(events))
    assert all_of_it.duplicates == 2_500 - len(set(events)) > 0


def test_the_same_seed_sends_the_same_bytes() -> None:
    one, same, other = (list(usage(Workload(300, 10, 2, seed), Expected())) for seed in (1, 1, 2))
    assert one == same
    assert one != other
