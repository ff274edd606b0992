"""How old what is left to read can be, as tables: at each second the records left, when the last one read was appended,
and the age."""

import pytest

from aggregator.stream.age import Ages, Behind

LIVES: dict[str, list[tuple[float, int, float | None, float]]] = {
    "nothing left": [(100, 0, None, 0), (200, 0, 150, 0)],
    "behind from the start, by what the state remembers": [(1_000, 5, 400, 600), (1_001, 5, 400, 601)],
    "catching up": [(1_000, 90, 400, 600), (1_001, 50, 700, 301), (1_002, 0, 1_001, 0)],
    "an idle hour makes the first record no older than the last look": [
        (3_600, 0, 10, 0),
        (3_601, 1, 10, 1),
        (3_605, 1, 10, 5),
        (3_606, 0, 3_601, 0),
    ],
    "nothing was ever read: since the first look": [(50, 7, None, 0), (80, 7, None, 30)],
    "a broker whose clock is ahead": [(100, 3, 105, 0)],
}


@pytest.mark.parametrize("life", LIVES)
def test_age_of_what_is_left(life: str) -> None:
    ages: Ages[str] = Ages()
    for now, lag, last_at, expected in LIVES[life]:
        assert ages.observe(now, {"log": Behind(lag, last_at)}) == {"log": expected}, now


def test_a_log_that_comes_back_is_seen_for_the_first_time() -> None:
    ages: Ages[str] = Ages()
    ages.observe(10, {"log": Behind(0, None)})
    ages.observe(20, {})
    assert ages.observe(500, {"log": Behind(2, 100)}) == {"log": 400}
