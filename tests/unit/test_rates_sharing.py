"""What becomes of two processes that both began to read the live rates."""

import pytest

from aggregator.insights.sharing import Sharing
from schemas.errors import OperatorError

COUNT = 4
ALL = {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("assignments", "ends_at"),
    [
        ([set(), ALL, ALL], None),
        ([set(), {1, 2, 3}], 1),  # at once, for it has not partition 0
        ([ALL, {2}], 1),
        ([{0, 1}, {0, 1}, {0, 1, 2}], None),  # while the others are there
        ([{0, 1}, {0, 1}, ALL], 2),  # once it is alone: it has not read all
        ([{0, 1}, set(), ALL], 2),
        ([{0, 1}, {2, 3}], 1),
    ],
)
def test_both_end_and_the_one_with_partition_0_last(assignments: list[set[int]], ends_at: int | None) -> None:
    sharing = Sharing(COUNT)
    for number, partitions in enumerate(assignments):
        sharing.assigned(partitions)
        if number == ends_at:
            with pytest.raises(OperatorError, match="started again"):
                sharing.check()
            return
        sharing.check()
    assert sharing.seen is any(0 < len(partitions) < COUNT for partitions in assignments)
